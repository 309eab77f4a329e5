"""Queries for bench/index.py, and their exact nearest neighbours: in float32, in chunks, kept in the work folder."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vectors import Distribution

CHUNK = 20_000
DEPTH = 100

Float = NDArray[np.float32]
Rows = NDArray[np.int64]


def nearest(vectors: NDArray[np.float16], among: Rows, queries: Float, k: int = DEPTH) -> Rows:
    """[queries, k] rows with the largest inner products, best first, only those in `among`; -1 where there are none."""
    scores = np.full((len(queries), k), -np.inf, np.float32)
    rows = np.full((len(queries), k), -1, np.int64)
    for start in range(0, len(among), CHUNK):
        chosen = among[start : start + CHUNK]
        new = queries @ vectors[chosen].astype(np.float32).T
        scores = np.hstack([scores, new])
        rows = np.hstack([rows, np.broadcast_to(chosen, new.shape)])
        order = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
    return np.take_along_axis(rows, np.argsort(-scores, axis=1, kind="stable"), 1)


def kept(rows: int, one_in: int) -> Rows:
    """The rows that a filter keeps, ascending."""
    return np.sort(np.random.default_rng(one_in).permutation(rows)[: max(1, rows // one_in)])


def prepare(work: Path, rows: int, count: int, one_in: int = 1) -> tuple[dict[str, Float], dict[str, Rows]]:
    """By kind: `count` queries [count, d], and their nearest neighbours [count, 100] among the first `rows` rows.

    With `one_in` only the rows that such a filter keeps count.
    """
    vectors = np.load(work / "vectors" / "vectors.npy", mmap_mode="r")
    asked = work / f"queries-{count}.npz"
    if not asked.is_file():
        np.savez(asked, **Distribution(vectors.shape[1]).queries(count))
    queries = dict(np.load(asked))
    path = work / f"truth-{rows}-{count}-{one_in}.npz"
    if not path.is_file():
        among = kept(rows, one_in) if one_in > 1 else np.arange(rows)
        both = nearest(vectors, among, np.vstack(list(queries.values())))
        np.savez(path, **dict(zip(queries, np.split(both, len(queries)), strict=True)))
    return queries, dict(np.load(path))


def recall(found: list[Rows], truth: Rows, k: int) -> float:
    """Share of the first `k` of `truth` [n, 100] that were found, over the first len(found) queries."""
    shares = []
    for rows, right in zip(found, truth, strict=False):
        right = right[:k][right[:k] >= 0]
        shares.append(np.isin(right, rows[:k]).mean())
    return float(np.mean(shares))
