"""Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009)."""

from collections.abc import Iterable, Sequence

RANK_OFFSET = 60


def fuse(rankings: Iterable[tuple[Sequence[int], Sequence[float]]]) -> list[tuple[int, float]]:
    """Join rankings into one.

    Args:
        rankings: for each, the items best first and the weight of each item in this ranking.
    Returns:
        (item, sum of weight / (60 + rank)), best first; ranks start at 1, ties keep the first ranking's order.
    """
    scores: dict[int, float] = {}
    for items, weights in rankings:
        for rank, (item, weight) in enumerate(zip(items, weights, strict=True), start=1):
            scores[item] = scores.get(item, 0.0) + weight / (RANK_OFFSET + rank)
    return sorted(scores.items(), key=lambda entry: -entry[1])
