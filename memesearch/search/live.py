"""The index that answers, kept in step with the store by sequence number, and of the kind that suits the library."""

import asyncio
import logging
import time

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import MemeSearchError, Unavailable
from memesearch.library.progress import Progress
from memesearch.library.store import Store
from memesearch.search.follow import apply, grow, is_much
from memesearch.search.index.base import VectorIndex
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.files import Unusable
from memesearch.search.index.settings import EmbeddingModel, IndexSettings, Kind
from memesearch.search.index.tiers import Kept, kinds_kept, open_kept, remove_other_kinds
from memesearch.search.recall import MEASURE_SECONDS, Recall, RecallMeter
from memesearch.search.threads import in_thread

log = logging.getLogger(__name__)
CHANGES_AT_ONCE = 1024  # keeps the memory that building takes small
RETRY_SECONDS = 60.0
CROWDED, MOST_CROWDED = 2, 8  # times the size from which the mutable part is sealed


class LiveIndex:
    """An index for one model, and how far it has followed the store's changes."""

    def __init__(self, store: Store, model: int, model_id: str, dimensions: int, settings: IndexSettings) -> None:
        self.model, self.model_id, self.dimensions = model, model_id, dimensions
        self.progress = Progress()
        self.problem: str | None = None  # why the index is not as it should be
        self._store, self._settings = store, settings
        self._meter = RecallMeter(store, model, settings.recall_target)
        self._kept: Kept | None = None
        self._none = ExactIndex(dimensions)
        self._seq = 0
        self._taken_up = False  # whether `_seq` is what `_kept` has reached
        self._saved = 0, time.monotonic()
        self._due = False  # to be kept: a segment that nothing names yet, or keeping has failed
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

    @property
    def recall(self) -> list[Recall]:
        """As it was measured last."""
        return self._meter.measured

    def note_text(self, vector: NDArray[np.float32]) -> None:
        """Remember the vector of a text that was searched for; recall is measured with such."""
        self._meter.note_text(vector)

    async def open(self, as_kept: bool = True) -> int:
        """Take up the index where it was left; returns how many changes are left to follow.

        An index of another kind than is wanted now answers until `tend` has changed it, unless it is not to be taken
        `as_kept`.

        Raises:
            ConfigError: the memory budget is too small, or another process uses the index's folder.
        """
        if self._settings.folder is None:
            return 0
        there = kinds_kept(self._settings.folder, self.model)
        count = await self._store.vector_count(self.model)
        wanted = self._settings.kind_for(self.dimensions, count, "compact" if "compact" in there else None)
        kind = there[0] if as_kept and there and wanted not in there else wanted
        self._kept = await self._open_kept(kind, count)
        try:
            await self._take_up(self._kept)
        except Unavailable as error:  # Milvus is away; `catch_up` takes the index up once it is there
            self.tell(str(error))
        await asyncio.to_thread(remove_other_kinds, self._settings.folder, kind, self.model)
        return await self._store.changes_left(self._seq)

    async def _open_kept(self, kind: Kind, count: int) -> Kept:
        model = EmbeddingModel(self.model, self.model_id, self.dimensions)
        return await asyncio.to_thread(open_kept, kind, self._settings, await self._store.library(), model, count)

    async def _take_up(self, kept: Kept) -> None:
        """Find out, once, how far what was kept has come. Raises Unavailable."""
        async with self._following:
            if not self._taken_up:
                self._seq = await self._reached_by(kept)
                self._saved = self._seq, time.monotonic()
                self._taken_up = True

    async def _reached_by(self, kept: Kept) -> int:
        """How far what was kept has come; what cannot be used is cleared. Raises Unavailable."""
        if (position := await in_thread(kept.reached)) and await self._store.knows(position):
            return position.seq
        if position is not None:
            log.warning("the kept index follows another history of the database: it is built again")
        await in_thread(kept.clear)
        if kept.kind == "milvus":  # so that it is noticed when Milvus loses what it holds
            await in_thread(kept.save, await self._store.position(0))
        return 0

    async def catch_up(self) -> None:
        """Follow the store up to now; `grow` merges beside that.

        Raises:
            Unavailable: the database or Milvus cannot be reached.
        """
        if self._kept is not None:
            await self._take_up(self._kept)
        left = await self._store.changes_left(self._seq) if self._kept else 0
        if announced := left > CHANGES_AT_ONCE:
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
                if self._is_to_be_kept():
                    await self._try_to_save()
        finally:
            if announced:
                self.progress.finish()

    async def _try_to_save(self) -> None:
        try:
            await self.save()
        except OSError as error:  # all of it can be found all the same
            self.tell(f"what is built cannot be kept: {error}")

    async def _step(self, kept: Kept, seq: int) -> int:
        """Bring `kept` from `seq` some changes further; returns the number reached."""
        reached, touched, rows = await self._store.changes_after(seq, self.model, CHANGES_AT_ONCE)
        if touched:
            await in_thread(self._apply, kept.vectors, touched, rows)
            self.progress.advance(len(touched))
        return reached

    def _apply(self, vectors: VectorIndex, touched: list[int], rows: list[tuple[int, int, bytes]]) -> None:
        """While another thread seals, changes only wait for it once they have become far too many."""
        apply(vectors, touched, rows)
        if not vectors.crowded(CROWDED):
            return
        try:
            self._due |= vectors.seal(wait=vectors.crowded(MOST_CROWDED))
        except OSError as error:  # all of it can be found all the same; `tend` tries again
            if vectors.crowded(MOST_CROWDED):  # memory has an end too
                raise Unavailable(f"the index waits for room: {error}") from error
            self.tell(str(error))

    async def tend(self) -> None:
        """One round of background work: following what is left, merging, keeping, changing to another kind of index
        when the library has grown, and beginning to measure recall when that is due."""
        if self._closed:
            return
        self._round = asyncio.create_task(self._tend_once())
        try:
            if problem := await self._round:
                self.tell(problem)
            else:
                self.problem = None
        except asyncio.CancelledError:
            if not self._closed:
                raise
        except Unavailable as error:
            self.tell(str(error))
        except (OSError, Unusable, MemeSearchError) as error:
            if self._closed:  # a build was ended
                return
            self.tell(str(error))
            await asyncio.sleep(RETRY_SECONDS)
        except Exception as error:  # a mistake of ours; what it was about may change
            log.exception("looking after the index failed; it is tried again")
            self.problem = f"an internal error happened: {error}"
            await asyncio.sleep(RETRY_SECONDS)

    def tell(self, problem: str) -> None:
        """Say what is not as it should be, until a round of `tend` goes well; the log is told once."""
        if self.problem != problem and not self._closed:  # which ends builds
            log.warning("the index: %s; tried again", problem)
        self.problem = problem

    async def _tend_once(self) -> str | None:
        """Returns what is not as it should be all the same."""
        if self._kept is None:
            return None
        await self._notice_loss(self._kept)
        await grow(self)
        count = await self._store.vector_count(self.model)
        kind = self._settings.kind_for(self.dimensions, count, self.kind)
        if kind != self.kind:
            await self._change(kind, count)
        problem = self._kept.suit(count)
        while await asyncio.to_thread(self.vectors.maintain):
            await self.save()
        if self._is_to_be_kept():
            await self.save()
        self._meter.begin(self.vectors, self._try_to_save)
        return problem or self._meter.too_little(self.vectors)

    async def measured(self) -> None:
        """Return when recall is not being measured any more."""
        await self._meter.ended()

    async def _notice_loss(self, kept: Kept) -> None:
        """Milvus may have been put back empty: then it is filled again. Raises Unavailable."""
        if kept.kind == "milvus" and self._taken_up and await in_thread(kept.reached) is None:
            log.warning("Milvus has lost the vectors: it is filled again")
            async with self._following:
                self._seq, self._taken_up = 0, False

    def _is_to_be_kept(self) -> bool:
        """When much has changed; also when nothing has, once a day: the database forgets very old openings."""
        much = is_much(self.vectors, abs(self._seq - self._saved[0]))
        return self._due or much or time.monotonic() - self._saved[1] > MEASURE_SECONDS

    async def save(self) -> None:
        """Keep what has changed since the last time. Raises OSError, Unavailable."""
        async with self._following:
            if self._kept is None or not self._taken_up:
                return
            position = await self._store.position(self._seq)
            self._due = True
            await in_thread(self._kept.save, position)
            self._saved, self._due = (position.seq, time.monotonic()), False

    async def _change(self, kind: Kind, count: int) -> None:
        """Build an index of another kind beside this one, and put it in its place."""
        log.info("the library has %d vectors: the index becomes %s", count, kind)
        fresh = await self._open_kept(kind, count)
        try:
            seq, reached = -1, await self._reached_by(fresh)
            self.progress.start("building", await self._store.changes_left(reached))
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
        self.vectors.interrupt()
        await self._meter.close()
        if self._round is not None and not self._round.done():
            self._round.cancel()
            await asyncio.wait([self._round])
        try:
            if self._seq != self._saved[0] or self._due:
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
