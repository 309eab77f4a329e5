"""How much of what exact search finds the index finds, measured in the background; and how far it has to look.

The truth is the database: every vector of a sample of queries' neighbours is looked at there. Two samples, for
they behave differently: stored pictures, and texts that people asked for lately. Texts lie outside the cloud of
pictures, so that their neighbours are spread over more lists. One half of a sample says how far to look, the other
half what that finds.
"""

import asyncio
import logging
import math
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.errors import MemeSearchError
from memesearch.library.store import Store
from memesearch.search.index.base import Effort, Found, QueryKind, VectorIndex
from memesearch.search.threads import in_thread
from memesearch.search.truth import DEPTH, Queries, Truth

log = logging.getLogger(__name__)
SAMPLED = 200  # queries of each kind
FEWEST_TEXTS = 20  # before something is concluded from them
TEXT_TO_PICTURE = 4  # lists that texts need beside pictures, until there are texts to measure with
REMEMBERED_TEXTS = 400
AT_ONCE = 2048  # contents

MEASURE_SECONDS = 86400.0
CHANGED_SHARE = 0.1  # of the vectors, before recall is measured again
CHANGED_TEXTS = 50
MISSED = 0.02  # of recall, by which a target is missed for good


class Recall(msgspec.Struct):
    """`at_10` and `at_100`: shares of the best 10 and 100 that were found, the mean over `sampled` queries."""

    queries: QueryKind
    sampled: int
    at_10: float
    at_100: float
    measured_at: float


class Occasion(msgspec.Struct):
    """When recall was measured last, of what design of index, and how much there was then."""

    at: float = -math.inf
    design: tuple[str, int] = "", 0
    contents: int = 0
    texts: int = 0

    def is_due(self, now: "Occasion") -> bool:
        """Whether enough has changed, or time has passed, to measure again."""
        grown = abs(now.contents - self.contents) > CHANGED_SHARE * self.contents
        asked, aged = now.texts >= self.texts + CHANGED_TEXTS, now.at - self.at > MEASURE_SECONDS
        return bool(now.contents) and (now.design != self.design or grown or asked or aged)


class RecallMeter:
    """Measures one library's index every now and then, and sets how far it looks."""

    def __init__(self, store: Store, model: int, target: float) -> None:
        self._store, self._model, self._target = store, model, target
        self._texts: deque[NDArray[np.float32]] = deque(maxlen=REMEMBERED_TEXTS)
        self._noted = 0
        self._last = Occasion()
        self._running: asyncio.Task[None] | None = None
        self.measured: list[Recall] = []

    def note_text(self, vector: NDArray[np.float32]) -> None:
        """Remember the vector of a text that was searched for; recall is measured with such."""
        self._texts.append(vector / max(float(np.linalg.norm(vector)), 1e-6))
        self._noted += 1

    def too_little(self, vectors: VectorIndex) -> str | None:
        """What to say when an index does not reach its target however far it looks."""
        furthest = vectors.trials()[-1:]
        for recall in self.measured:
            if [vectors.efforts.get(recall.queries)] == furthest and recall.at_10 < self._target - MISSED:
                return (
                    f"{recall.queries} queries find {recall.at_10:.3f} of the best ten however far they look, less "
                    "than `index_recall_target`; docs/scaling.md says what helps"
                )
        return None

    def begin(self, vectors: VectorIndex, then: Callable[[], Awaitable[None]]) -> None:
        """Measure in the background, if that is due, and let a compact index look as far as it needs to reach the
        target; `then` keeps what was learned."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(vectors, then))

    async def ended(self) -> None:
        """Return when nothing is being measured any more."""
        if self._running is not None:
            await asyncio.wait([self._running])

    async def close(self) -> None:
        """Break off what is running."""
        if self._running is not None:
            self._running.cancel()
        await self.ended()
        self._running = None  # which may hold on to mapped files

    async def _run(self, vectors: VectorIndex, then: Callable[[], Awaitable[None]]) -> None:
        try:
            if await self._measure_if_due(vectors):
                await then()
        except MemeSearchError as error:  # whoever else needs the database or Milvus says so to the user
            log.info("recall could not be measured: %s", error)
        except Exception:  # a mistake of ours, which must not be silent; searches go on
            log.exception("recall could not be measured; it is tried again")

    async def _measure_if_due(self, vectors: VectorIndex) -> bool:
        stats = await asyncio.to_thread(vectors.stats)
        now = Occasion(time.monotonic(), (stats.kind, stats.bits), stats.contents, self._noted)
        if not self._last.is_due(now):
            return False
        self.measured = await self._measure(vectors)
        self._last = now
        return True

    async def _measure(self, vectors: VectorIndex) -> list[Recall]:
        rows = await self._store.random_vectors(self._model, SAMPLED)
        if not rows:
            return []
        pictures = np.stack([np.frombuffer(vector, "<f2") for _, vector in rows])
        texts = random.sample(list(self._texts), min(len(self._texts), SAMPLED))
        queries = np.concatenate([pictures, np.reshape(texts, (-1, vectors.dimensions))]).astype(np.float32)
        own = np.array([content for content, _ in rows] + [-1] * len(texts), np.int64)
        truth = await self._truth(Truth(queries, own))
        by_kind: dict[QueryKind, Truth] = {"picture": truth.part(slice(len(rows)))}
        if texts:
            by_kind["text"] = truth.part(slice(len(rows), None))
        if vectors.trials():
            vectors.efforts |= await self._chosen(vectors, by_kind)
        return [await reached(vectors, kind, part) for kind, part in by_kind.items()]

    async def _chosen(self, vectors: VectorIndex, by_kind: dict[QueryKind, Truth]) -> dict[QueryKind, Effort]:
        picture = await self._least_effort(vectors, by_kind["picture"].part(slice(0, None, 2)))
        if "text" in by_kind and len(by_kind["text"].queries) >= FEWEST_TEXTS:
            text = await self._least_effort(vectors, by_kind["text"].part(slice(0, None, 2)))
        else:  # what was learned before stays
            before, share = vectors.efforts["text"], min(1.0, TEXT_TO_PICTURE * picture.share)
            text = Effort(max(before.share, share), max(before.reranked, picture.reranked))
        return {"picture": picture, "text": text}

    async def _truth(self, truth: Truth) -> Truth:
        """Reads all vectors once, and rests half of the time, so that others come first."""
        after, dimensions = -1, truth.queries.shape[1]
        while True:
            started = time.monotonic()
            rows = await self._store.vectors_after(after, self._model, AT_ONCE)
            if not rows:
                return truth
            after = rows[-1][0]
            contents = np.array([row[0] for row in rows], np.int64)
            vectors = np.frombuffer(b"".join(row[2] for row in rows), "<f2").reshape(-1, dimensions)
            await in_thread(truth.show, contents, vectors)
            await asyncio.sleep(time.monotonic() - started)

    async def _least_effort(self, vectors: VectorIndex, truth: Truth) -> Effort:
        """The cheapest effort with which recall@10 reaches the target; the greatest when none does."""
        efforts = vectors.trials()
        for effort in efforts:
            found = await answers(vectors, truth.queries, "picture", effort)
            if truth.recall(found, 10) >= self._target:
                return effort
        return efforts[-1]


async def answers(vectors: VectorIndex, queries: Queries, kind: QueryKind, effort: Effort | None = None) -> list[Found]:
    """The best DEPTH and one more, which may be the query itself. One by one: who closes waits for no more than one."""
    return [await in_thread(vectors.search, query, DEPTH + 1, None, kind, effort) for query in queries]


async def reached(vectors: VectorIndex, kind: QueryKind, truth: Truth) -> Recall:
    """What is found now; measured with the half of the queries that nothing was chosen by."""
    part = truth.part(slice(1, None, 2)) if len(truth.queries) > 1 else truth
    found = await answers(vectors, part.queries, kind)
    return Recall(kind, len(part.queries), part.recall(found, 10), part.recall(found, DEPTH), time.time())
