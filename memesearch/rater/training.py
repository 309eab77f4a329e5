"""One training: what was said, how well a model learns it, the model as a checkpoint with its log."""

import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memesearch.errors import ConfigError, NotEnoughLabels
from memesearch.library.pool import Pool, read_pool
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import Examples, read_examples
from memesearch.taste import checkpoint
from memesearch.taste.groups import near_duplicate_groups
from memesearch.taste.honest import held_out
from memesearch.taste.labels import Labels
from memesearch.taste.model import Groups

FEWEST_FOR_CURVE = 64
MANY_NEW = 0.1  # more or fewer pictures than the model knew
CURVE = (4, 2)  # the learning curve has a quarter and half of all labels, beside all


@dataclass(frozen=True)
class Trained:
    """`folder` of the checkpoint; `summary`: lines for a person."""

    folder: Path
    summary: list[str]


def models_folder(config: RaterConfig, dimension: str | None = None) -> Path:
    """Where models of the whole taste, or of one dimension of it, are kept. Raises ConfigError."""
    folder = Path(config.models)
    if dimension is None:
        return folder
    if dimension not in config.dimensions:
        known = ", ".join(config.dimensions) or "none"
        raise ConfigError(f"`dimensions` does not have {dimension!r}; it has {known}")
    return folder / dimension


def train(config: RaterConfig, kind: str, dimension: str | None = None, only_if_new: bool = False) -> Trained:
    """Fit, measure, store. `only_if_new`: not when the current model has learned from the same labels already, among
    about as many pictures.

    Raises:
        ConfigError: a path of the configuration cannot be used, or nothing is indexed.
        NotEnoughLabels: nothing was rated yet, or too little for this kind of model.
    """
    folder = models_folder(config, dimension)
    pool = read_pool(Path(config.pictures().db_path))
    with closing(RaterDatabase(Path(config.database))) as database:
        examples = read_examples(database, pool, dimension)
    if not len(examples.labels):
        lost = f" ({examples.lost} speak of pictures whose vectors are gone)" if examples.lost else ""
        about = "" if dimension is None else f" about {dimension!r}"
        raise NotEnoughLabels(
            f"there are no answers{about} to learn from{lost}; answer some pairs (rater_server.py), then train again"
        )
    settings = {"kind": kind, "dimension": dimension, "duplicate_similarity": config.duplicate_similarity}
    said = fingerprint(examples)
    if only_if_new and (same := learned_before(folder, settings, pool, said)):
        return Trained(same, [f"nothing was said since {same} was trained, which stays the current model"])
    groups = near_duplicate_groups(examples.vectors, config.duplicate_similarity)
    model = checkpoint.new_model(kind)
    report = model.fit(examples.vectors, examples.labels, groups)
    history = report.pop("history", [])
    curve = list(learning_curve(kind, examples, groups))
    metrics = {
        "fit": report, "held_out": curve[-1], "lost": examples.lost, "labels": len(examples.labels), "said": said,
        "pictures": len(pool),
    }  # fmt: skip
    log = [{**settings, "model_id": pool.model_id, "at": time.time()}, *history, *curve]
    stored = checkpoint.save(
        folder, model, pool.model_id, metrics, settings,
        direction=model.direction(examples.vectors), log="".join(json.dumps(line) + "\n" for line in log),
    )  # fmt: skip
    return Trained(stored, [*summary(examples, curve[-1]), f"stored as {stored}, which is now the current model"])


def fingerprint(examples: Examples) -> str:
    """Of all that was said, in hexadecimal."""
    labels, names = examples.labels, examples.names
    pairs = [[names[one], names[other]] for one, other in zip(labels.first, labels.second, strict=True)]
    decided = [[names[item], bool(kept)] for item, kept in zip(labels.item, labels.kept, strict=True)]
    whole = [pairs, labels.grade.tolist(), labels.graded.tolist(), decided]
    return hashlib.sha256(json.dumps(whole).encode()).hexdigest()


def learned_before(models: Path, settings: dict[str, Any], pool: Pool, said: str) -> Path | None:
    """The current model's folder, if it was made of the same labels in the same way. Its components are of the pictures
    of its time, so many new ones are news too."""
    try:
        folder = checkpoint.newest(models)
        current = checkpoint.load(folder)
    except ConfigError:  # there is none that could be used
        return None
    same = (current.settings, current.model_id, current.metrics.get("said")) == (settings, pool.model_id, said)
    before = current.metrics.get("pictures")
    return folder if same and isinstance(before, int) and abs(len(pool) - before) <= MANY_NEW * before else None


def learning_curve(kind: str, examples: Examples, groups: Groups) -> Iterator[dict[str, Any]]:
    """Held-out figures with the first labels alone, then with all; the last line is that of all."""
    total = len(examples.labels)
    shares = CURVE if total >= FEWEST_FOR_CURVE else ()
    for labels in (*(oldest(examples.labels, share) for share in shares), examples.labels):
        figures = held_out(lambda: checkpoint.new_model(kind), examples.vectors, labels, groups)
        yield {"labels": len(labels), **figures}


def oldest(labels: Labels, share: int) -> Labels:
    """The first of pairs and of decisions, one in `share`."""
    pairs, decisions = len(labels.first), len(labels.item)
    return labels.only(np.arange(pairs) < pairs // share, np.arange(decisions) < decisions // share)


def summary(examples: Examples, figures: dict[str, Any]) -> list[str]:
    """What a person wants to know of a training, a line each."""
    labels = examples.labels
    lines = [
        f"{len(labels.first)} answers and {len(labels.item)} decisions about {len(labels.items())} pictures"
        + (f"; {examples.lost} more speak of pictures whose vectors are gone" if examples.lost else "")
    ]
    if "pair_accuracy" in figures:
        right = figures["pair_accuracy"]
        lines.append(
            f"on pictures it never saw: {right['value']:.1%} of {figures['pairs']} pairs in the right order"
            f" (95 % interval {right['low']:.1%} to {right['high']:.1%}), log loss {figures['pair_log_loss']:.3f}"
        )
    if "auroc" in figures:
        area = figures["auroc"]
        lines.append(
            f"keep or discard: AUROC {area['value']:.3f} ({area['low']:.3f} to {area['high']:.3f}) of"
            f" {figures['decisions']} decisions, log loss {figures['log_loss']:.3f}"
        )
    if len(lines) == 1:
        lines.append("too few answers to tell how good this model is: it knows little, and says so with each score")
    return lines
