"""The library: keeps the store and the index equal to what is on disk.

One run at a time. The order inside makes any crash harmless: new and changed files are linked before
vanished ones are forgotten, so that a renamed picture is searchable throughout; each transaction leaves the
database true; the index follows by sequence number.
"""

import asyncio
import contextlib
import logging
import time
from pathlib import Path

import msgspec

from memesearch import wire
from memesearch.clip.client import ClipClient, ModelChanged
from memesearch.errors import Unavailable
from memesearch.library.ingest import Ingest, Limits
from memesearch.library.progress import Progress
from memesearch.library.reading import TextReading
from memesearch.library.records import Failure, FileStat
from memesearch.library.scan import difference, scan
from memesearch.library.store import Store
from memesearch.search.follow import grow
from memesearch.search.index.milvus_connection import trouble_at
from memesearch.search.index.settings import IndexSettings
from memesearch.search.live import LiveIndex
from memesearch.search.rebuild import forget_broken_off
from memesearch.workers import WorkerPool

log = logging.getLogger(__name__)
DECODE_SECONDS = 60.0
LOG_SECONDS = 2.0
QUICKLY_FOLLOWED = 20_000  # changes, before the program answers its first request
TEND_SECONDS = 15.0
MODEL_CHANGES = 5  # in one run, before it is given up: two services with different models behind one address


class Summary(msgspec.Struct):
    """What one reload did."""

    looked_at: int
    added_or_changed: int
    gone: int
    failures: int
    scan_seconds: float


class Library:
    """Wires scanning, indexing and text recognition; `index` is None until a model is known."""

    def __init__(
        self, root: Path, store: Store, client: ClipClient, limits: Limits, index_settings: IndexSettings
    ) -> None:
        self.root, self.store, self.client, self._index_settings = root, store, client, index_settings
        self.index: LiveIndex | None = None
        self.indexing = Progress()
        self.texts = TextReading(root, store, self.indexing)
        self.news = [self.texts.news]  # told when pictures may have come or gone
        self.switching_to: str | None = None
        self.problem: str | None = None  # why the last run did not end well
        self.index_problem: str | None = None  # why an index could not begin, as long as there is none
        self._limits = limits
        self._decoders = WorkerPool("memesearch.library.decode_worker", limits.decoders, DECODE_SECONDS)
        self._one_run = asyncio.Lock()
        self._asked = False  # whether somebody asked for the next run
        self._next: asyncio.Task[Summary] | None = None
        self._runs: set[asyncio.Task[Summary]] = set()

    async def open(self) -> None:
        """Take up the index of the model that was active last; no embedding service is needed.

        What is left to follow is followed here if that is quick, else by and by, while searches find what is there.

        Raises:
            ConfigError: the index cannot be as the configuration wants it.
        """
        active = await self.store.active_model()
        if active is None:
            return
        self.index = LiveIndex(self.store, *active, self._index_settings)
        left = await self.index.open()
        if self._index_settings.folder is not None:
            forget_broken_off(self._index_settings.folder)
        if left <= QUICKLY_FOLLOWED:
            with contextlib.suppress(Unavailable):  # of Milvus; `tend_index` and the first scan try again
                await self.index.catch_up()

    @property
    def running(self) -> bool:
        """Whether the folder is being scanned or indexed."""
        return self._one_run.locked()

    async def close(self) -> None:
        """Stop what is running; the next start goes on with it."""
        for run in self._runs:
            run.cancel()
        await asyncio.gather(*self._runs, return_exceptions=True)
        if self.index is not None:
            await self.index.close()
        await self._decoders.close()
        await self.texts.close()

    async def reload(self, asked: bool = True) -> Summary:
        """Make database and index hold exactly what is on disk.

        Who asks while a run is under way gets the one after it, together with all others who ask. A run goes on
        when nobody waits for it any more. Unless somebody `asked`, a folder that has lost all its pictures is taken for
        a disk that is not mounted.

        Raises:
            Unavailable: the folder cannot be read, the embedding service does not answer, or the database cannot
                be written. What could be done without them is done.
        """
        self._asked |= asked
        if self._next is None:
            self._next = asyncio.create_task(self._run())
            self._runs.add(self._next)
            self._next.add_done_callback(self._ended)
        return await asyncio.shield(self._next)

    def _ended(self, run: "asyncio.Task[Summary]") -> None:
        self._runs.discard(run)
        if run is self._next:
            self._next = None
        if not run.cancelled():
            run.exception()  # told to whoever waits, and in `problem`

    async def _run(self) -> Summary:
        async with self._one_run:
            self._next = None
            asked, self._asked = self._asked, False
            try:
                summary = await self._steadily(asked)
                self.problem = None
                return summary
            except Exception as error:
                self.problem = str(error) or type(error).__name__
                raise
            finally:
                self.indexing.finish()
                self._tell_news()

    async def _steadily(self, asked: bool) -> Summary:
        for _ in range(MODEL_CHANGES):
            try:
                return await self._look(asked)
            except ModelChanged as error:
                log.warning("%s: looking again", error)
                await asyncio.sleep(1)
        raise Unavailable("the embedding service changes its model all the time: are several behind one address?")

    async def _look(self, asked: bool) -> Summary:
        self.indexing.start("scanning", 0)
        started = time.monotonic()
        found = await asyncio.to_thread(scan, self.root)
        refused = {path: FileStat(path, 0, 0) for path in found.refused}
        on_disk = {**found.files, **refused}
        known = await self.store.known_files()
        if known and not on_disk and not asked:
            raise Unavailable(f"{self.root} has lost all its pictures: mount its disk; if that is meant, POST /reload")
        change = difference(on_disk, known)
        scan_seconds = time.monotonic() - started
        new_refused = [file for file in change.changed if file.path in refused]
        for file in new_refused:
            log.warning("skipping %r: %s", file.path, found.refused[file.path])
        await self.store.fail([Failure(file, found.refused[file.path]) for file in new_refused])
        changed = [file for file in change.changed if file.path not in refused]
        try:
            renamed = await self._link_renamed(changed, [known[path] for path in change.gone])
            await self._index([file for file in changed if file.path not in renamed], found.files)
        finally:  # a picture that is gone is not shown, whatever else went wrong
            await self.store.remove(change.gone)
            await self._follow()
        return await self._summary(len(on_disk), len(changed), len(change.gone), scan_seconds)

    async def _index(self, changed: list[FileStat], on_disk: dict[str, FileStat]) -> None:
        try:
            config = await self.client.refresh()
        except Unavailable:
            if changed:
                raise
            return
        self.problem = None
        assert config.model_id is not None
        model = await self.store.model_number(config.model_id, config.embedding_size)
        if self.index is None or (self.index.model != model and not await self.store.vector_count(self.index.model)):
            await self._activate(model, config)
        assert self.index is not None
        self.switching_to = config.model_id if self.index.model != model else None
        again = {file.path for file in changed}
        missing = [file for file in await self.store.files_without_vectors(model) if file.path in on_disk]
        todo = changed + [file for file in missing if file.path not in again]
        if todo:
            log.info("indexing %d pictures with %s", len(todo), config.model_id)
        self.indexing.start("indexing", len(todo))
        reporter = asyncio.create_task(self._log_progress())
        try:
            await self._ingest().run(todo, config, model)
        finally:
            reporter.cancel()
        if self.index.model != model:
            await self._activate(model, config)
            self.switching_to = None
            log.info("switched to %s", config.model_id)

    async def _link_renamed(self, changed: list[FileStat], gone: list[FileStat]) -> set[str]:
        """Before all else, for it needs no service: what has another name now. Returns those paths."""
        before = {(file.mtime_ns, file.size) for file in gone}
        renamed = [file for file in changed if (file.mtime_ns, file.size) in before]
        if self.index is None or not renamed:
            return set()
        self.indexing.start("indexing", len(renamed))
        return await self._ingest().link_known(renamed, self.index.model)

    def _ingest(self) -> Ingest:
        return Ingest(self.root, self.store, self.client, self._decoders, self._limits, self.indexing, self._follow)

    async def _activate(self, model: int, config: wire.ServiceConfig) -> None:
        """Answer with `model`'s vectors from now on; the old index serves until the new one is built."""
        fresh = LiveIndex(self.store, model, config.model_id or "", config.embedding_size, self._index_settings)
        try:
            await fresh.open()
            await grow(fresh)
            await self.store.activate_model(model)
        except BaseException:
            await fresh.close()
            raise
        old, self.index = self.index, fresh
        if old is not None:
            await old.delete()

    async def _follow(self) -> None:
        if self.index is not None:
            await self.index.catch_up()
        self._tell_news()

    def _tell_news(self) -> None:
        for news in self.news:
            news.set()

    async def tend_index(self) -> None:
        """The background task: see `LiveIndex.tend`; whichever index there is at the moment."""
        while True:
            if self.index is not None:
                await self.index.tend()
            else:
                settings = self._index_settings
                self.index_problem = await asyncio.to_thread(trouble_at, settings.uri, settings.token)
            await asyncio.sleep(TEND_SECONDS)

    async def _summary(self, looked_at: int, changed: int, gone: int, scan_seconds: float) -> Summary:
        counts = await self.store.counts()
        summary = Summary(looked_at, changed, gone, counts["failures"], scan_seconds)
        log.info(
            "in step with the disk: %d files searchable, %d failed; %d new or changed, %d gone",
            counts["files"],
            counts["failures"],
            changed,
            gone,
        )
        return summary

    async def _log_progress(self) -> None:
        """Until it is cancelled: how far it is, whenever it has got further."""
        before = None
        while True:
            await asyncio.sleep(LOG_SECONDS)
            name, work = "indexing", self.indexing.report()
            if self.index is not None and not self.index.progress.resting():
                name, work = "building the index", self.index.progress.report()
            if (now := (name, work.done, work.total)) != before:
                log.info("%s: %s", name, work)
            before = now
