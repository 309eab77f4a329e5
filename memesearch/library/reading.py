"""Text recognition of the whole library, in the background, whenever nothing is being indexed."""

import asyncio
import contextlib
import logging
from pathlib import Path

from memesearch.errors import Unavailable
from memesearch.library.ocr_worker import ReadRequest, ReadText
from memesearch.library.progress import Progress
from memesearch.library.store import Store
from memesearch.workers import WorkerDied, WorkerPool

log = logging.getLogger(__name__)
PICTURE_SECONDS = 120.0
LOG_SECONDS = 10.0
RETRY_SECONDS = 600.0  # after reading as such did not work
TEXTS_AT_ONCE = 8


class ReadingBroken(Unavailable):
    """Not a picture but the reader itself is at fault."""


class TextReading:
    """Reads what has not been read. A text is stored only when the picture was there and was read."""

    def __init__(self, root: Path, store: Store, indexing: Progress) -> None:
        self.progress = Progress()
        self.news = asyncio.Event()  # set by whoever may have added pictures
        self._root, self._store, self._indexing = root, store, indexing
        self._workers = WorkerPool("memesearch.library.ocr_worker", 1, PICTURE_SECONDS)

    async def run(self) -> None:
        """The background task."""
        while True:
            self.news.clear()
            try:
                await self._read_all()
                self.progress.finish()
                await self.news.wait()
            except Unavailable as error:  # also: the database cannot be written
                self.progress.wait(str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(RETRY_SECONDS):
                        await self.news.wait()
            except Exception as error:  # a mistake of ours; the other pictures are tried again later
                log.exception("reading texts failed")
                self.progress.wait(f"an internal error happened: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            await self._indexing.until_resting()

    async def close(self) -> None:
        await self._workers.close()

    async def _read_all(self) -> None:
        """Each picture without a text once; those that cannot be read now come up again with the next news."""
        counts = await self._store.counts()
        left = counts["contents"] - counts["texts"]
        if left:
            log.info("reading the text of %d pictures", left)
            self.progress.start("reading", left)
        reported = asyncio.get_running_loop().time()
        reached = 0
        while batch := await self._store.unread(reached, TEXTS_AT_ONCE):
            await self._indexing.until_resting()
            reached = batch[-1][0]
            texts = [(content, await self._read(digest, path)) for content, digest, path in batch]
            await self._store.set_texts([(content, text) for content, text in texts if text is not None])
            self.progress.advance(len(texts))
            if asyncio.get_running_loop().time() - reported > LOG_SECONDS:
                reported = asyncio.get_running_loop().time()
                log.info("reading text: %s", self.progress.report())

    async def _read(self, digest: bytes, path: str) -> str | None:
        """One picture's text; empty when it kills the reader, None when nothing is known of it.

        Raises:
            ReadingBroken: the reader dies without any picture.
        """
        try:
            return (await self._workers.call(ReadRequest(str(self._root / path), digest), ReadText)).text
        except WorkerDied as error:
            reason = str(error)
        try:
            await self._workers.call(ReadRequest(), ReadText)
        except WorkerDied as error:
            raise ReadingBroken(f"text recognition does not work here: the reader {error}") from error
        log.warning("no text from %r: the reader %s", path, reason)
        return ""
