"""Groups of near-duplicates: pictures that differ by a caption, a crop or a compression.

Nothing honest can be measured while two of a group lie on both sides of a split, and nobody wants to judge a
picture twice.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**23  # products looked at together; were all of them near, their places would take 200 MB
FEW = 4000  # up to so many rows, all dimensions are compared at once
PROJECTED = 64  # dimensions that rule out nearly every pair
SAMPLE = 10_000  # rows that the directions of projection are learnt from
ROUNDING = 1e-5  # of float32 sums of 1,000 products
SMALLEST_CHAIN = 50  # a group of up to so many is believed
EXACT_COPY = 0.999


def near_duplicate_groups(
    vectors: NDArray[np.float32], similarity: float, largest: int | None = None
) -> NDArray[np.int64]:
    """Connected components of the pairs whose inner product is at least `similarity`.

    Single linkage chains: A is near B, B near C, and so on through unlike pictures, until one group holds most of a
    collection. So a group of more than `largest` is taken apart by a stricter similarity (1 - similarity is
    halved until its parts are small enough, or are exact copies). By default that is a tenth of the
    rows, but at least 50.

    Args:
        vectors: float32 [n, d], unit norm. 100,000 rows of 1,152 take about half a minute on two cores.
        similarity: a cosine, in (0, 1].

    Returns:
        int64 [n]: rows with equal numbers are of one group; the number is the lowest row of the group.

    Raises:
        ValueError: `similarity` is out of range, or vectors hold something that is not finite.
    """
    if not 0 < similarity <= 1:
        raise ValueError("the similarity of near-duplicates must be above 0 and at most 1")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors hold numbers that are not finite")
    if largest is None:
        largest = max(SMALLEST_CHAIN, len(vectors) // 10)
    groups = components(vectors, similarity)
    stricter = 1 - (1 - similarity) / 2
    if stricter > EXACT_COPY:
        return groups
    names, sizes = np.unique(groups, return_counts=True)
    for name in names[sizes > largest]:
        rows = np.flatnonzero(groups == name)
        groups[rows] = rows[near_duplicate_groups(vectors[rows], stricter, largest)]
    return groups


def components(vectors: NDArray[np.float32], similarity: float) -> NDArray[np.int64]:
    """Connected components without a limit of their size; int64 [n], the lowest row of each."""
    roots = np.arange(len(vectors))
    for first, second in near_pairs(np.ascontiguousarray(vectors, np.float32), similarity):
        join(roots, first, second)
    return roots


def near_pairs(
    vectors: NDArray[np.float32], similarity: float
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """All pairs of rows with an inner product of at least `similarity`, a block of rows at a time."""
    bounding = projected(vectors) if len(vectors) > FEW and vectors.shape[1] > 2 * PROJECTED else None
    limit = similarity - ROUNDING
    compared = vectors if bounding is None else bounding
    start = 0
    while start < len(vectors):
        rows = compared[start : start + max(1, BLOCK // (len(vectors) - start))]
        near = np.flatnonzero(rows @ compared[start:].T >= limit)
        first, second = near // (len(vectors) - start) + start, near % (len(vectors) - start) + start
        keep = first < second
        first, second = first[keep], second[keep]
        if bounding is not None:
            keep = inner_products(vectors, first, second) >= limit
            first, second = first[keep], second[keep]
        yield first, second
        start += len(rows)


def projected(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Short vectors whose inner products are never below those of the long ones; float32 [n, PROJECTED + 1].

    A vector is split into its part along the principal directions and the rest. By Cauchy and Schwarz, two rests
    have an inner product of at most the product of their lengths, so the length of the rest is appended.
    """
    sample = vectors[:: max(1, len(vectors) // SAMPLE)]
    _, directions = np.linalg.eigh(sample.T @ sample)
    short = vectors @ directions[:, -PROJECTED:].astype(np.float32)
    rest = np.einsum("nd,nd->n", vectors, vectors) - np.einsum("nd,nd->n", short, short)
    return np.column_stack([short, np.sqrt(np.maximum(rest, 0))]).astype(np.float32)


def inner_products(
    vectors: NDArray[np.float32], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Of each pair of rows, float32 [p]; copies 10,000 rows at a time."""
    products = np.empty(len(first), np.float32)
    for start in range(0, len(first), 10_000):
        part = slice(start, start + 10_000)
        products[part] = np.einsum("nd,nd->n", vectors[first[part]], vectors[second[part]])
    return products


def join(roots: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Make one component of those that each pair lies in. `roots`: the lowest row of each row's component."""
    while len(first):
        one, other = roots[first], roots[second]
        apart = one != other
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        np.minimum.at(roots, np.maximum(one, other), np.minimum(one, other))
        while np.any(roots[roots] != roots):
            roots[:] = roots[roots]
