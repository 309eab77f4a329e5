"""Thumbnails as background work of the search backend, whenever nothing is being indexed."""

import asyncio
import contextlib
import logging

from memesearch.errors import MemeSearchError
from memesearch.library.progress import Progress
from memesearch.thumbs.folder import Busy
from memesearch.thumbs.thumbnailer import Thumbnailer

log = logging.getLogger(__name__)
BUSY_SECONDS = 30.0  # until the folder is looked at again while another program makes thumbnails
RETRY_SECONDS = 300.0  # after a problem such as a full disk


class ThumbnailStage:
    """Runs a Thumbnailer after each indexing, never beside one."""

    def __init__(self, thumbnailer: Thumbnailer, indexing: Progress) -> None:
        self.news = asyncio.Event()  # set by whoever may have added or removed pictures
        self.progress = thumbnailer.progress
        self._thumbnailer, self._indexing = thumbnailer, indexing

    async def run(self) -> None:
        """The background task."""
        while True:
            await self._indexing.until_resting()
            self.news.clear()
            pause: float | None = None
            try:
                summary = await self._thumbnailer.run(self._indexing.resting)
                if summary.made or summary.removed:
                    log.info("thumbnails: %d made, %d removed", summary.made, summary.removed)
                if summary.interrupted:
                    continue
            except Busy:
                pause = BUSY_SECONDS
            except (MemeSearchError, OSError) as error:
                self.progress.wait(str(error))
                pause = RETRY_SECONDS
            except Exception as error:  # a mistake of ours; searching goes on
                log.exception("making thumbnails failed")
                self.progress.wait(f"an internal error happened: {error}")
                pause = RETRY_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self.news.wait()

    async def close(self) -> None:
        await self._thumbnailer.close()
