"""Fills an index from the database, and goes on where it was when that was broken off: `mse.py --rebuild-index`."""

import asyncio
import logging
from pathlib import Path

from memesearch.errors import Unavailable
from memesearch.search.follow import grow
from memesearch.search.live import LiveIndex

log = logging.getLogger(__name__)
SAVE_SECONDS = 5.0


async def rebuild(index: LiveIndex, folder: Path) -> None:
    """`index` is not open yet; `folder` is where indexes are kept.

    Raises:
        ConfigError: as `LiveIndex.open`.
        Unavailable: the database or Milvus is away, or the disk is full or cannot be written.
    """
    try:
        await fill(index, folder)
    except OSError as error:
        raise Unavailable(
            f"the index cannot be built to its end in {folder}: {error}; once that is over (docs/scaling.md says how "
            "much room it takes), --rebuild-index goes on from here"
        ) from error


async def fill(index: LiveIndex, folder: Path) -> None:
    """What `rebuild` does; also raises OSError."""
    left = await index.open(as_kept=False)
    mark = folder / f"rebuilding-{index.kind}-{index.model}"
    if mark.exists():
        log.info("going on with a rebuilding that was broken off: %d changes left", left)
    else:
        await index.start_over()
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    saving = asyncio.create_task(save_often(index))
    try:
        await grow(index)
        while await asyncio.to_thread(index.vectors.maintain):
            stats = index.vectors.stats()
            log.info("a part of the index is built: %d vectors, %d sealed parts", stats.vectors, stats.segments)
    finally:
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
    await index.save()
    mark.unlink()


def forget_broken_off(folder: Path) -> None:
    """What was broken off is gone on with by whoever opened the index; the next `--rebuild-index` starts anew."""
    for mark in folder.glob("rebuilding-*"):
        mark.unlink(missing_ok=True)


async def save_often(index: LiveIndex) -> None:
    """Until it is cancelled; the log is told how far it is."""
    while True:
        await asyncio.sleep(SAVE_SECONDS)
        log.info("rebuilding: %s", index.progress.report())
        try:
            await index.save()
        except (OSError, Unavailable) as error:
            log.warning("what is built cannot be kept at the moment: %s", error)
