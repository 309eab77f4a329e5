"""The library: keeps the store and the index equal to what is on disk, and reads the texts.

One `reload` at a time. The order inside makes any crash harmless: new and changed files are linked
before vanished ones are forgotten, so a renamed file finds its content; each transaction leaves the
database true; the index follows by sequence number.
"""

import asyncio
import contextlib
import logging
from pathlib import Path

import msgspec

from memesearch import wire
from memesearch.clip.client import ClipClient, ModelChanged
from memesearch.errors import Unavailable
from memesearch.library.ingest import Ingest, Limits
from memesearch.library.ocr_worker import ReadRequest, ReadText
from memesearch.library.progress import Progress
from memesearch.library.records import FileStat
from memesearch.library.scan import difference, scan
from memesearch.library.store import Store
from memesearch.search.live import LiveIndex
from memesearch.workers import WorkerDied, WorkerPool

log = logging.getLogger(__name__)
DECODE_SECONDS = 60.0
OCR_SECONDS = 120.0
LOG_SECONDS = 2.0
CHECK_SECONDS = 10.0  # how often the embedding service is asked which model it has
TEXTS_AT_ONCE = 8


class Summary(msgspec.Struct):
    """What one reload did."""

    looked_at: int
    added_or_changed: int
    gone: int
    failures: int


class Library:
    """Wires scanning, indexing and text recognition; `index` is None until a model is known."""

    def __init__(self, root: Path, store: Store, client: ClipClient, limits: Limits) -> None:
        self.root, self.store, self.client = root, store, client
        self.index: LiveIndex | None = None
        self.indexing = Progress()
        self.reading = Progress()
        self.switching_to: str | None = None
        self.problem: str | None = None
        self._limits = limits
        self._decoders = WorkerPool("memesearch.library.decode_worker", limits.decoders, DECODE_SECONDS)
        self._readers = WorkerPool("memesearch.library.ocr_worker", 1, OCR_SECONDS)
        self._reloading = asyncio.Lock()
        self._something_new = asyncio.Event()

    async def open(self) -> None:
        """Build the index of the model that was active last; no embedding service is needed."""
        active = await self.store.active_model()
        if active is not None:
            self.index = LiveIndex(self.store, *active)
            await self.index.catch_up()

    async def close(self) -> None:
        await self._decoders.close()
        await self._readers.close()

    async def reload(self, patient: bool) -> Summary:
        """Make database and index hold exactly what is on disk.

        Args:
            patient: wait for an embedding service that is away, instead of raising.
        Raises:
            Unavailable: the folder cannot be read, or (not patient) the service does not answer.
        """
        async with self._reloading:
            try:
                while True:
                    try:
                        return await self._reload(patient)
                    except ModelChanged as error:
                        log.warning("%s: looking again", error)
            finally:
                self.indexing.finish()
                self._something_new.set()

    async def _reload(self, patient: bool) -> Summary:
        self.indexing.start("scanning", 0)
        found = await asyncio.to_thread(scan, self.root)
        self.problem = None
        refused = {path: FileStat(path, 0, 0) for path in found.refused}
        on_disk = {**found.files, **refused}
        known = await self.store.known_files()
        change = difference(on_disk, known)
        new_refused = [file for file in change.changed if file.path in refused]
        for file in new_refused:
            log.warning("skipping %r: %s", file.path, found.refused[file.path])
        await self.store.fail([(file, found.refused[file.path]) for file in new_refused])
        changed = [file for file in change.changed if file.path not in refused]
        try:
            config = await self._service(patient)
            await self._embed(changed, config)
        except Unavailable:
            if not changed:
                await self._forget(change.gone)
                return await self._summary(len(on_disk), 0, len(change.gone))
            raise
        await self._forget(change.gone)
        return await self._summary(len(on_disk), len(changed), len(change.gone))

    async def _service(self, patient: bool) -> wire.ServiceConfig:
        return await (self.client.wait_until_ready(self.indexing.wait) if patient else self.client.refresh())

    async def _embed(self, changed: list[FileStat], config: wire.ServiceConfig) -> None:
        assert config.model_id is not None
        model = await self.store.model_number(config.model_id, config.embedding_size)
        if self.index is None or (self.index.model != model and not len(self.index.flat)):
            await self._activate(model, config)
        assert self.index is not None
        self.switching_to = config.model_id if self.index.model != model else None
        missing = await self.store.files_without_vectors(model)
        again = {file.path for file in changed}
        todo = changed + [file for file in missing if file.path not in again]
        if todo:
            log.info("indexing %d pictures with %s", len(todo), config.model_id)
        self.indexing.start("indexing", len(todo))
        ingest = Ingest(self.root, self.store, self.client, self._decoders, self._limits, self.indexing, self._follow)
        reporter = asyncio.create_task(self._log_progress())
        try:
            await ingest.run(todo, config, model)
        finally:
            reporter.cancel()
        if self.index.model != model:
            await self._activate(model, config)
            self.switching_to = None
            log.info("switched to %s", config.model_id)

    async def _activate(self, model: int, config: wire.ServiceConfig) -> None:
        """Answer with `model`'s vectors from now on; the old index serves until the new one is built."""
        fresh = LiveIndex(self.store, model, config.model_id or "", config.embedding_size)
        await fresh.catch_up()
        await self.store.activate_model(model)
        self.index = fresh

    async def _follow(self) -> None:
        if self.index is not None:
            await self.index.catch_up()
        self._something_new.set()

    async def _forget(self, gone: list[str]) -> None:
        await self.store.remove(gone)
        await self._follow()

    async def _summary(self, looked_at: int, changed: int, gone: int) -> Summary:
        counts = await self.store.counts()
        summary = Summary(looked_at, changed, gone, counts["failures"])
        log.info(
            "in step with the disk: %d files searchable, %d failed; %d new or changed, %d gone",
            counts["files"],
            counts["failures"],
            changed,
            gone,
        )
        return summary

    async def _log_progress(self) -> None:
        while True:
            await asyncio.sleep(LOG_SECONDS)
            log.info("indexing: %s", self.indexing.report())

    async def keep_in_step(self) -> None:
        """The background task: index at start, and anew whenever the service has got another model."""
        outdated = True
        while True:
            try:
                if outdated:
                    await self.reload(patient=True)
            except Unavailable as error:
                self.problem = str(error)
                log.error("%s; trying again in %.0f s", error, CHECK_SECONDS)
            await asyncio.sleep(CHECK_SECONDS)
            outdated = self.problem is not None or await self._has_another_model()

    async def _has_another_model(self) -> bool:
        if self._reloading.locked():
            return False
        with contextlib.suppress(Unavailable):
            config = await self.client.refresh()
            return self.index is not None and config.model_id != self.index.model_id
        return False

    async def read_texts(self) -> None:
        """The background task that reads text from pictures, whenever nothing is being indexed."""
        while True:
            self._something_new.clear()
            await self._read_all_texts()
            self.reading.finish()
            await self._something_new.wait()
            while self.indexing.state != "idle":
                await asyncio.sleep(0.5)

    async def _read_all_texts(self) -> None:
        counts = await self.store.counts()
        left = counts["contents"] - counts["texts"]
        if left:
            log.info("reading the text of %d pictures", left)
            self.reading.start("reading", left)
        reported = asyncio.get_running_loop().time()
        while batch := await self.store.unread(TEXTS_AT_ONCE):
            while self.indexing.state not in ("idle", "waiting"):
                await asyncio.sleep(0.5)
            texts = []
            for content_id, path in batch:
                try:
                    text = (await self._readers.call(ReadRequest(str(self.root / path)), ReadText)).text
                except WorkerDied as error:
                    log.warning("no text from %r: the reader %s", path, error)
                    text = ""
                texts.append((content_id, text))
            await self.store.set_texts(texts)
            self.reading.advance(len(texts))
            if asyncio.get_running_loop().time() - reported > 10:
                reported = asyncio.get_running_loop().time()
                log.info("reading text: %s", self.reading.report())
