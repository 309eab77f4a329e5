"""What exact search finds: every vector of the database is looked at."""

import numpy as np
from numpy.typing import NDArray

from memesearch.search.index.base import Found, Ids

DEPTH = 100
TIE = 1e-5  # scores that differ by less count as equal; the tenth and the twentieth of a text may differ by 1e-3

Queries = NDArray[np.float32]


class Truth:
    """The best DEPTH contents of each query, and their scores, among all vectors that it is shown.

    A query that is a picture of the library has nothing to prove by finding itself: `own` [q] is its content, which
    is left out; -1 for a query that is none.
    """

    def __init__(self, queries: Queries, own: Ids) -> None:
        self.queries, self.own = queries, own
        self.best = np.full((len(queries), DEPTH), -np.inf, np.float32)
        self.contents = np.full((len(queries), DEPTH), -1, np.int64)

    def show(self, contents: Ids, vectors: NDArray[np.float16]) -> None:
        """Contents [n], ascending, equal ones being parts of one, with their vectors [n, d]."""
        scores = self.queries @ vectors.astype(np.float32).T
        first = np.flatnonzero(np.diff(contents, prepend=-1))
        scores = np.maximum.reduceat(scores, first, axis=1)
        scores[self.own[:, None] == contents[first]] = -np.inf
        scores = np.concatenate([self.best, scores], axis=1)
        every = np.broadcast_to(contents[first], (len(scores), len(first)))
        every = np.concatenate([self.contents, every], axis=1)
        top = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        self.best, self.contents = np.take_along_axis(scores, top, axis=1), np.take_along_axis(every, top, axis=1)

    def part(self, chosen: slice) -> "Truth":
        """Of some of the queries."""
        part = Truth(self.queries[chosen], self.own[chosen])
        part.best, part.contents = self.best[chosen], self.contents[chosen]
        return part

    def recall(self, found: list[Found], k: int) -> float:
        """Mean share of the best `k` that is in `found`, one answer for each query; equal scores are as good."""
        shares = []
        for (scores, contents), best, right, own in zip(found, self.best, self.contents, self.own, strict=True):
            others = contents != own
            scores, contents = scores[others], contents[others]
            there = best[:k][np.isfinite(best[:k])]
            if len(there):  # Milvus' scores are a little different, so that the contents count too
                hits = np.isin(contents[:k], right[: len(there)]) | (scores[:k] >= there[-1] - TIE)
                shares.append(min(int(np.count_nonzero(hits)), len(there)) / len(there))
        return float(np.mean(shares)) if shares else 1.0
