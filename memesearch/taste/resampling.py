"""Honest comparisons: whole groups of near-duplicates are drawn, never single pictures."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memesearch.taste.measures import Numbers, Truth, area

ROUNDS = 2000


@dataclass(frozen=True)
class Difference:
    """By how much the second model's measure is above the first's, on the same pictures.

    `low`, `high`: 95 % interval by percentiles; `probability`: the share of rounds in which the second is above
    (a tie counts half).
    """

    value: float
    low: float
    high: float
    probability: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def paired_bootstrap(
    first: Numbers,
    second: Numbers,
    good: Truth,
    groups: NDArray[np.int64] | None = None,
    measure: Callable[[Numbers, Truth], float] = area,
    rounds: int = ROUNDS,
    seed: int = 0,
) -> Difference:
    """Compare two models' scores of the same pictures, drawing whole groups with replacement.

    Args:
        first, second: float64 [n]; what each model says of each picture.
        groups: int64 [n]; near-duplicates share a number. None: every picture by itself.
        measure: of scores and truth, higher is better; rounds where it is NaN (AUROC of one class) are left out.

    Raises:
        ValueError: nothing can be measured at all.
    """
    value = measure(second, good) - measure(first, good)
    if np.isnan(value):
        raise ValueError("the two models cannot be compared on these pictures: they are of one class only")
    members = by_group(np.arange(len(good)) if groups is None else groups)
    random = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        rows = np.concatenate([members[place] for place in random.integers(0, len(members), len(members))])
        found.append(measure(second[rows], good[rows]) - measure(first[rows], good[rows]))
    differences = np.array(found)
    differences = differences[~np.isnan(differences)]
    low, high = np.percentile(differences, [2.5, 97.5]) if len(differences) else (np.nan, np.nan)
    above = float(np.mean((differences > 0) + (differences == 0) / 2)) if len(differences) else 0.5
    return Difference(float(value), float(low), float(high), above)


def by_group(groups: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each group."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(groups[order])) + 1) if len(order) else []
