"""The index that answers, kept in step with the store by sequence number, and of the kind that suits the library."""

import asyncio
import logging
import time
from collections import deque

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import ConfigError, MemeSearchError, Unavailable
from memesearch.library.progress import Progress
from memesearch.library.store import Store
from memesearch.search.index.base import PARTS, VectorIndex
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.files import Unusable
from memesearch.search.index.keeper import MANIFEST
from memesearch.search.index.tiers import IndexSettings, InMilvus, Kept, Kind, OnDisk, folder_of, remove_other_kinds
from memesearch.search.recall import MEASURE_SECONDS, Occasion, Recall, RecallMeter, too_little
from memesearch.search.threads import in_thread

log = logging.getLogger(__name__)
CHANGES_AT_ONCE = 1024  # keeps the memory that building takes small
SAVE_SECONDS = 300.0  # a start after a crash reads at most this much of the database again
RETRY_SECONDS = 60.0
REMEMBERED_TEXTS = 200
MOST_CROWDED = 8  # times the size from which the mutable part is sealed


class LiveIndex:
    """An index for one model, and how far it has followed the store's changes."""

    def __init__(self, store: Store, model: int, model_id: str, dimensions: int, settings: IndexSettings) -> None:
        self.model, self.model_id, self.dimensions = model, model_id, dimensions
        self.progress = Progress()
        self.problem: str | None = None  # why the index is not as it should be
        self.asked: deque[NDArray[np.float32]] = deque(maxlen=REMEMBERED_TEXTS)  # vectors of texts, asked lately
        self._texts_asked = 0
        self.recall: list[Recall] = []
        self._store, self._settings = store, settings
        self._meter = RecallMeter(store, settings.recall_target)
        self._measured = Occasion()
        self._kept: Kept | None = None
        self._none = ExactIndex(dimensions)
        self._seq = 0
        self._taken_up = False  # whether `_seq` is what `_kept` has reached
        self._saved = 0, time.monotonic()
        self._following = asyncio.Lock()
        self._round: asyncio.Task[str | None] | None = None  # of `tend`
        self._closed = False

    @property
    def vectors(self) -> VectorIndex:
        """What answers at the moment."""
        return self._none if self._kept is None else self._kept.vectors

    @property
    def kind(self) -> Kind | None:
        return None if self._kept is None else self._kept.kind

    async def open(self) -> int:
        """Take up the index where it was left; returns how many changes are left to follow.

        Raises:
            ConfigError: the memory budget is too small, or another process uses the index's folder.
        """
        if self._settings.folder is None:
            return 0
        count = await self._store.vector_count(self.model)
        before: Kind | None = (
            "compact" if (folder_of(self._settings.folder, "compact", self.model) / MANIFEST).exists() else None
        )
        wanted, library = self._settings.kind_for(self.dimensions, count, before), await self._store.library()
        self._kept = await asyncio.to_thread(self._make, wanted, count, library)
        try:
            await self._take_up(self._kept)
        except Unavailable as error:  # Milvus is away; `catch_up` takes the index up once it is there
            self._tell(str(error))
        await asyncio.to_thread(remove_other_kinds, self._settings.folder, self._kept.kind, self.model)
        return await self._store.changes_left(self._seq)

    async def _take_up(self, kept: Kept) -> None:
        """Find out, once, how far what was kept has come; what cannot be used is cleared. Raises Unavailable."""
        async with self._following:
            if self._taken_up:
                return
            if (position := await in_thread(kept.reached)) and await self._store.knows(position):
                self._seq = position.seq
            else:
                if position is not None:
                    log.warning("the kept index follows another history of the database: it is built again")
                await in_thread(kept.clear)
                if kept.kind == "milvus":  # so that it is noticed when Milvus loses what it holds
                    await in_thread(kept.save, await self._store.position(self._seq))
            self._saved = self._seq, time.monotonic()
            self._taken_up = True

    def _make(self, kind: Kind, count: int, library: str) -> Kept:
        if kind == "milvus":
            return InMilvus(self._settings, library, self.model_id, self.dimensions)
        assert self._settings.folder is not None
        folder = folder_of(self._settings.folder, kind, self.model)
        kept = OnDisk(kind, folder, self.model_id, self.dimensions, self._settings, count)
        if isinstance(kept.vectors, CompactIndex):
            log.info("the index: %s", kept.vectors.plan.describe(count))
        return kept

    async def catch_up(self) -> None:
        """Follow the store up to now; from nothing, this is how an index is built.

        Raises:
            Unavailable: the database or Milvus cannot be reached.
        """
        if self._kept is not None:
            await self._take_up(self._kept)
        left = await self._store.changes_left(self._seq) if self._kept else 0
        if left > CHANGES_AT_ONCE:
            self.progress.start("building", left)
        try:
            while True:
                async with self._following:  # for one batch, so that what is there can be kept meanwhile
                    if self._kept is None:
                        return
                    before = self._seq
                    self._seq = await self._step(self._kept, before)
                    if self._seq == before:
                        return
        finally:
            self.progress.finish()

    async def _step(self, kept: Kept, seq: int) -> int:
        """Bring `kept` from `seq` some changes further; returns the number reached."""
        reached, touched, rows = await self._store.changes_after(seq, self.model, CHANGES_AT_ONCE)
        if touched:
            await in_thread(self._apply, kept.vectors, touched, rows)
            self.progress.advance(len(touched))
        return reached

    def _apply(self, vectors: VectorIndex, touched: list[int], rows: list[tuple[int, int, bytes]]) -> None:
        here = {content for content, _, _ in rows}
        vectors.remove(np.array([content for content in touched if content not in here], np.int64))
        if rows:
            ids = np.array([content * PARTS + part for content, part, _ in rows], np.int64)
            joined = b"".join(vector for _, _, vector in rows)
            vectors.add(ids, np.frombuffer(joined, "<f2").reshape(len(rows), self.dimensions))
        if isinstance(vectors, CompactIndex) and vectors.crowded():
            try:
                vectors.maintain()
            except OSError as error:  # all of it can be found all the same; `tend` tries again
                if vectors.crowded(MOST_CROWDED):  # memory has an end too
                    raise Unavailable(f"the index waits for room: {error}") from error
                self._tell(str(error))

    async def tend(self) -> None:
        """One round of background work: following what is left, merging, keeping, and changing to another kind of
        index when the library has grown."""
        if self._closed:
            return
        self._round = asyncio.create_task(self._tend_once())
        try:
            if problem := await self._round:
                self._tell(problem)
            else:
                self.problem = None
        except asyncio.CancelledError:
            if not self._closed:
                raise
        except Unavailable as error:
            self._tell(str(error))
        except (OSError, Unusable, MemeSearchError) as error:
            if self._closed:  # a build was ended
                return
            self._tell(str(error))
            await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:  # a mistake of ours; what it was about may change
            log.exception("looking after the index failed; it is tried again")
            self.problem = f"an internal error happened: {error}"
            await asyncio.sleep(RETRY_SECONDS)

    def _tell(self, problem: str) -> None:
        if self.problem != problem:
            log.warning("the index: %s; tried again", problem)
        self.problem = problem

    async def _tend_once(self) -> str | None:
        """Returns what is not as it should be all the same."""
        if self._kept is None:
            return None
        await self._notice_loss(self._kept)
        await self.catch_up()
        count = await self._store.vector_count(self.model)
        kind = self._settings.kind_for(self.dimensions, count, self.kind)
        if kind != self.kind:
            await self._change(kind, count)
        problem = None
        if isinstance(self.vectors, CompactIndex):
            try:
                self.vectors.adopt(self._settings.plan_for(self.dimensions, count, self.vectors.plan.bits))
            except ConfigError as error:
                problem = str(error)
        merged = False
        while await asyncio.to_thread(self.vectors.maintain):
            merged = True
            await self.save()
        held = await asyncio.to_thread(len, self.vectors)
        if self._measured.is_due(held, self._texts_asked):
            asked = self._texts_asked
            self.recall = await self._meter.measure(self.vectors, self.model, list(self.asked))
            self._measured = Occasion(time.monotonic(), held, asked)
        if not merged and self._is_to_be_kept():
            await self.save()
        return problem or (too_little(self.recall, self._settings.recall_target) if self.kind == "compact" else None)

    async def _notice_loss(self, kept: Kept) -> None:
        """Milvus may have been put back empty: then it is filled again. Raises Unavailable."""
        if kept.kind == "milvus" and self._taken_up and await in_thread(kept.reached) is None:
            log.warning("Milvus has lost the vectors: it is filled again")
            async with self._following:
                self._seq, self._taken_up = 0, False

    def _is_to_be_kept(self) -> bool:
        """Also when nothing has changed, once a day: the database forgets very old openings."""
        wait = SAVE_SECONDS if self._seq != self._saved[0] else MEASURE_SECONDS
        return time.monotonic() - self._saved[1] > wait

    def note_text(self, vector: NDArray[np.float32]) -> None:
        """Remember the vector of a text that was searched for; recall is measured with such."""
        self.asked.append(vector / max(float(np.linalg.norm(vector)), 1e-6))
        self._texts_asked += 1

    async def save(self) -> None:
        """Keep what has changed since the last time. Raises OSError, Unavailable."""
        async with self._following:
            if self._kept is None or not self._taken_up:
                return
            position = await self._store.position(self._seq)
            await in_thread(self._kept.save, position)
            self._saved = position.seq, time.monotonic()

    async def _change(self, kind: Kind, count: int) -> None:
        """Build an index of another kind beside this one, and put it in its place."""
        log.info("the library has %d vectors: the index becomes %s", count, kind)
        fresh = await asyncio.to_thread(self._make, kind, count, await self._store.library())
        try:
            await asyncio.to_thread(fresh.clear)
            self.progress.start("building", await self._store.changes_left(0))
            seq, reached = -1, 0
            while seq != reached:
                seq, reached = reached, await self._step(fresh, reached)
            async with self._following:  # what came meanwhile
                while (reached := await self._step(fresh, seq)) != seq:
                    seq = reached
                old, self._kept, self._seq = self._kept, fresh, seq
        except BaseException:
            fresh.close()
            raise
        finally:
            self.progress.finish()
        if old is not None:
            await in_thread(old.close)
            await in_thread(old.delete)
        log.info("the index is %s now", kind)
        await self.save()

    async def start_over(self) -> None:
        """Make it empty, so that the next `catch_up` fills it from the start. Raises Unavailable."""
        assert self._kept is not None
        await asyncio.to_thread(self._kept.clear)
        self._seq, self._taken_up = 0, True

    async def close(self) -> None:
        """Keep what there is and let go of it."""
        self._closed = True
        if isinstance(self.vectors, CompactIndex):
            self.vectors.close()  # ends a build
        if self._round is not None and not self._round.done():
            self._round.cancel()
            await asyncio.wait([self._round])
        try:
            if self._seq != self._saved[0]:
                await self.save()
        except (OSError, MemeSearchError) as error:
            log.warning("the index could not be kept, the next start builds it again: %s", error)
        async with self._following:
            kept, self._kept = self._kept, None
        if kept is not None:
            await in_thread(kept.close)

    async def delete(self) -> None:
        """Close it, and remove what was kept of it."""
        kept = self._kept
        await self.close()
        if kept is not None:
            await asyncio.to_thread(kept.delete)
