"""Which pairs to ask about next.

Measured (docs/benchmarks.md): for the order of all items `narrowing` is worth a point of AUROC, other rules nothing.
For what stands at the top while good items are rare (5 %), top-two Thompson sampling finds a fifth more after 512.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.chooser import Chooser, Pair, Rule
from memesearch.taste.labels import Labels
from memesearch.taste.model import TasteModel, Vectors

CONTROL = 0.1  # share of pairs that are drawn at random whatever the rule, to compare with
SPREAD_PAIRS = 64  # so many answers about items far apart come first
RARE = 0.2  # below this share of good items Thompson sampling is worth its while
THOMPSON = 0.5  # its share then


def propose(
    rule: Rule,
    model: TasteModel | None,
    vectors: Vectors,
    labels: Labels,
    count: int,
    random: np.random.Generator,
    eligible: NDArray[np.bool_],
    *,
    similarity: float = 0.95,
    avoid: Collection[tuple[int, int]] = (),
) -> list[Pair]:
    """At most `count` pairs, the most telling first with the control among them; fewer when there are no more.

    Args:
        model: fitted; None where nothing was learnt yet, which leaves spread-out and random pairs.
        vectors: float32 [n, d], unit norm.
        labels: pairs in them are not proposed again.
        eligible: bool [n]; which rows may be shown.
        similarity: pairs with a cosine above it are near-duplicates, and never proposed.
        avoid: further pairs of rows not to propose, in either order.
    """
    chooser = Chooser(vectors, labels, count, random, eligible, similarity, avoid)
    if rule == "auto":
        return auto(chooser, model, labels, count)
    if rule == "random" or model is None:
        return chooser.at_random(count, "random")
    control = chooser.at_random(int(random.binomial(count, CONTROL)), "control")
    wanted = count - len(control)
    pairs = chooser.by(rule, model, wanted)
    # a rule that runs out of pairs leaves others
    return mixed(pairs, control, random) + chooser.at_random(wanted - len(pairs), "random")


def auto(chooser: "Chooser", model: TasteModel | None, labels: Labels, count: int) -> list[Pair]:
    """Spread-out pairs first, then such as narrow all scores; part Thompson, else random, while good items are rare."""
    spread = min(count, max(0, SPREAD_PAIRS - len(labels.first)))
    pairs = chooser.spread(labels, spread)
    rest = count - len(pairs)
    if rest <= 0:
        return pairs
    if model is None:
        return pairs + chooser.at_random(rest, "random")
    control = chooser.at_random(int(chooser.random.binomial(rest, CONTROL)), "control")
    wanted = rest - len(control)
    if rare(model, chooser, labels):
        told = chooser.thompson(model, int(chooser.random.binomial(wanted, THOMPSON)))
    else:
        told = chooser.narrowing(model, wanted)
    others = chooser.at_random(wanted - len(told), "random")
    return pairs + mixed(told, control + others, chooser.random)


def rare(model: TasteModel, chooser: "Chooser", labels: Labels) -> bool:
    """Whether few items are good. Only decisions tell what is good, so without any the answer is no."""
    if len(labels.item) == 0 or len(chooser.rows) == 0:
        return False
    sample = chooser.random.choice(chooser.rows, min(1000, len(chooser.rows)), replace=False)
    return float(model.keep_probability(chooser.vectors[sample]).mean()) < RARE


def mixed(pairs: list[Pair], others: list[Pair], random: np.random.Generator) -> list[Pair]:
    """The order of `pairs`, with `others` at random places among them."""
    total = len(pairs) + len(others)
    places = set(random.choice(total, len(others), replace=False).tolist()) if total else set()
    first, second = iter(pairs), iter(others)
    return [next(second) if place in places else next(first) for place in range(total)]
