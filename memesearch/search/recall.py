"""How much of what exact search finds the index finds, measured in the background; and how far it has to look.

The truth is the database: every vector of a sample of queries' neighbours is looked at there. Two samples, for
they behave differently: stored pictures, and texts that people asked for lately. Texts lie outside the cloud of
pictures, so that their neighbours are spread over more lists.
"""

import asyncio
import math
import random
import time

import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.library.store import Store
from memesearch.search.index.base import Found, Ids, QueryKind, VectorIndex
from memesearch.search.index.compact import CompactIndex, Effort
from memesearch.search.index.plan import RERANKED

SAMPLED = 100  # queries of each kind
FEWEST_TEXTS = 10  # before something is concluded from them
TEXT_TO_PICTURE = 4  # lists that texts need beside pictures, until there are texts to measure with
DEPTH = 100
AT_ONCE = 2048  # contents
TIE = 1e-5  # scores that differ by less count as equal; the tenth and the twentieth of a text may differ by 1e-3
SHARES = [1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]
SCANNED_US, RANKED_US = 0.035, 1.7  # microseconds of a row, by its code and exactly (bench/index.py)
DEPTHS = [1, 2, 4]  # times the usual number of candidates that are ranked exactly

MEASURE_SECONDS = 86400.0
CHANGED_SHARE = 0.1  # of the vectors, before recall is measured again
CHANGED_TEXTS = 50
MISSED = 0.02  # of recall, by which a target is missed for good

Queries = NDArray[np.float32]


class Recall(msgspec.Struct):
    """`at_10` and `at_100`: shares of the best 10 and 100 that were found, the mean over `sampled` queries."""

    queries: QueryKind
    sampled: int
    at_10: float
    at_100: float
    measured_at: float


class Occasion(msgspec.Struct):
    """When recall was measured last, and how much there was then."""

    at: float = -math.inf
    vectors: int = 0
    texts: int = 0

    def is_due(self, vectors: int, texts: int) -> bool:
        """Whether enough has changed, or time has passed, to measure again."""
        grown = abs(vectors - self.vectors) > CHANGED_SHARE * self.vectors
        return bool(vectors) and (
            grown or texts >= self.texts + CHANGED_TEXTS or time.monotonic() - self.at > MEASURE_SECONDS
        )


class Truth:
    """The best DEPTH contents of each query, and their scores, among all vectors that it is shown."""

    def __init__(self, queries: Queries) -> None:
        self.queries = queries
        self.best = np.full((len(queries), DEPTH), -np.inf, np.float32)
        self.contents = np.full((len(queries), DEPTH), -1, np.int64)

    def show(self, contents: Ids, vectors: NDArray[np.float16]) -> None:
        """Contents [n], ascending, equal ones being parts of one, with their vectors [n, d]."""
        scores = self.queries @ vectors.astype(np.float32).T
        first = np.flatnonzero(np.diff(contents, prepend=-1))
        scores = np.concatenate([self.best, np.maximum.reduceat(scores, first, axis=1)], axis=1)
        every = np.broadcast_to(contents[first], (len(scores), len(first)))
        every = np.concatenate([self.contents, every], axis=1)
        top = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        top = np.take_along_axis(top, order, axis=1)
        self.best, self.contents = np.take_along_axis(scores, top, axis=1), np.take_along_axis(every, top, axis=1)

    def part(self, chosen: slice) -> "Truth":
        """Of some of the queries."""
        part = Truth(self.queries[chosen])
        part.best, part.contents = self.best[chosen], self.contents[chosen]
        return part

    def recall(self, found: list[Found], k: int) -> float:
        """Mean share of the best `k` that is in `found`, one answer for each query; equal scores are as good."""
        shares = []
        for (scores, contents), best, right in zip(found, self.best, self.contents, strict=True):
            there = best[:k][np.isfinite(best[:k])]
            if len(there):  # Milvus' scores are a little different, so that the contents count too
                hits = np.isin(contents[:k], right[: len(there)]) | (scores[:k] >= there[-1] - TIE)
                shares.append(min(int(np.count_nonzero(hits)), len(there)) / len(there))
        return float(np.mean(shares)) if shares else 1.0


def too_little(measured: list[Recall], target: float) -> str | None:
    """What to say when an index does not reach its target however far it looks."""
    for recall in measured:
        if recall.at_10 < target - MISSED:
            return (
                f"{recall.queries} queries find {recall.at_10:.3f} of the best ten however far they look, less than "
                "`index_recall_target`; a larger `index_memory_mb` would help"
            )
    return None


class RecallMeter:
    """Measures one library's index."""

    def __init__(self, store: Store, target: float) -> None:
        self._store, self._target = store, target

    async def measure(self, vectors: VectorIndex, model: int, texts: list[NDArray[np.float32]]) -> list[Recall]:
        """Measure, and set the efforts of a compact index to the least that reach the target.

        Raises:
            Unavailable: the database or the index cannot be asked.
        """
        pictures = await self._pictures(model, vectors.dimensions)
        if not len(pictures):
            return []
        sample = random.sample(texts, min(len(texts), SAMPLED))
        queries = np.concatenate([pictures, np.reshape(sample, (-1, vectors.dimensions))]).astype(np.float32)
        truth = await self._truth(queries, model, vectors.dimensions)
        measured = []
        parts: list[tuple[QueryKind, slice]] = [
            ("picture", slice(len(pictures))),
            ("text", slice(len(pictures), None)),
        ]
        for kind, chosen in parts:
            part = truth.part(chosen)
            if len(part.queries):
                measured.append(await asyncio.to_thread(self._measure, vectors, kind, part))
        if isinstance(vectors, CompactIndex) and len(sample) < FEWEST_TEXTS:
            picture, text = vectors.efforts["picture"], vectors.efforts["text"]  # what was learned before stays
            share = max(text.share, min(1.0, TEXT_TO_PICTURE * picture.share))
            vectors.efforts["text"] = Effort(share, max(text.reranked, picture.reranked))
        return measured

    async def _pictures(self, model: int, dimensions: int) -> Queries:
        """Vectors [n, d] of a random sample of contents."""
        rows = [np.frombuffer(vector, "<f2") for vector in await self._store.random_vectors(model, SAMPLED)]
        return np.reshape(rows, (-1, dimensions)).astype(np.float32)

    async def _truth(self, queries: Queries, model: int, dimensions: int) -> Truth:
        """Reads all vectors once, and rests half of the time, so that others come first."""
        truth, after = Truth(queries), -1
        while True:
            started = time.monotonic()
            rows = await self._store.vectors_after(after, model, AT_ONCE)
            if not rows:
                return truth
            after = rows[-1][0]
            contents = np.array([row[0] for row in rows], np.int64)
            vectors = np.frombuffer(b"".join(row[2] for row in rows), "<f2").reshape(-1, dimensions)
            await asyncio.to_thread(truth.show, contents, vectors)
            await asyncio.sleep(time.monotonic() - started)

    def _measure(self, vectors: VectorIndex, kind: QueryKind, truth: Truth) -> Recall:
        if isinstance(vectors, CompactIndex) and (kind == "picture" or len(truth.queries) >= FEWEST_TEXTS):
            vectors.efforts[kind] = self.least_effort(vectors, truth)
        found = [vectors.search(query, DEPTH, None, kind) for query in truth.queries]
        at_10, at_100 = truth.recall(found, 10), truth.recall(found, DEPTH)
        return Recall(kind, len(truth.queries), at_10, at_100, time.time())

    def least_effort(self, vectors: CompactIndex, truth: Truth) -> Effort:
        """The cheapest effort with which recall@10 reaches the target; the greatest when none does."""
        usual, rows = RERANKED[vectors.plan.bits], vectors.rows()
        efforts = [Effort(share, depth * usual) for share in SHARES for depth in DEPTHS]
        efforts.sort(key=lambda effort: effort.share * rows * SCANNED_US + effort.reranked * RANKED_US)
        for effort in efforts:
            found = [vectors.search(query, DEPTH, effort=effort) for query in truth.queries]
            if truth.recall(found, 10) >= self._target:
                return effort
        return efforts[-1]
