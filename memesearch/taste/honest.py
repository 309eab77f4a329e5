"""How well a kind of model does on pictures that it never saw, nor near-duplicates of them."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from memesearch.errors import NotEnoughLabels
from memesearch.taste.held_out import folds
from memesearch.taste.labels import Labels
from memesearch.taste.measures import auroc, log_loss, share
from memesearch.taste.model import Groups, TasteModel, Vectors

FOLDS = 5
FEWEST = 4  # tested pairs, or decisions, that a figure is worth giving for


def held_out(make: Callable[[], TasteModel], vectors: Vectors, labels: Labels, groups: Groups) -> dict[str, Any]:
    """Figures over up to five folds that no group of near-duplicates is split by; fit for JSON.

    Returns:
        `pairs` tested (answers that say "equal" order nothing and are not), with `pair_accuracy` (value, low, high)
        and `pair_log_loss` (nats) when there are enough; `decisions` tested, with `auroc` and `log_loss` of P(keep).
    """
    ahead, probability, kept = [np.zeros(0)], [np.zeros(0)], [np.zeros(0, np.bool_)]
    for split in folds(labels, groups, FOLDS, seed=0):
        model, test = make(), labels.only(*split.test)
        try:
            model.fit(vectors, labels.only(*split.learn), groups)
        except NotEnoughLabels:
            continue
        scores, _ = model.score(vectors)
        sided = test.grade != 0
        ahead.append(((scores[test.first] - scores[test.second]) * np.sign(test.grade))[sided])
        if len(test.item):
            probability.append(model.keep_probability(vectors[test.item]))
            kept.append(test.kept)
    return {**of_pairs(np.concatenate(ahead)), **of_decisions(np.concatenate(probability), np.concatenate(kept))}


def of_pairs(ahead: Any) -> dict[str, Any]:
    """`ahead`: float64 [p], by how much the better one of each pair was scored higher."""
    if len(ahead) < FEWEST:
        return {"pairs": len(ahead)}
    right = share(ahead > 0)
    return {
        "pairs": len(ahead),
        "pair_accuracy": asdict(right),
        "pair_log_loss": float(np.logaddexp(0, -ahead).mean()),
    }


def of_decisions(probability: Any, kept: Any) -> dict[str, Any]:
    if len(kept) < FEWEST or kept.all() or not kept.any():
        return {"decisions": len(kept)}
    return {
        "decisions": len(kept),
        "auroc": asdict(auroc(probability, kept)),
        "log_loss": log_loss(probability, kept),
    }
