"""Collects the new pictures of all sources of `rater_config.json` into the folder of pictures, then ends.

    python meme-rater/crawler.py rater_config.json

Meant for a timer. A run goes on where the one before stopped; two never work at once. The exit status is 0 when at
least one source worked, or the run was asked to stop.
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the package lies beside this folder

from memesearch.machine import one_thread_each

if __name__ == "__main__":
    one_thread_each()  # before NumPy is loaded

from memesearch.crawl.config import FolderConfig
from memesearch.crawl.fetch import Fetcher
from memesearch.crawl.files import Places, locked
from memesearch.crawl.records import Records
from memesearch.crawl.report import show, summary
from memesearch.crawl.run import Crawl
from memesearch.crawl.sources import open_source
from memesearch.crawl.sources.folder import holds
from memesearch.errors import ConfigError
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.web import run_program


def places(config: RaterConfig) -> Places:
    """Where pictures go; a source that lies there would be collected without end. Raises ConfigError."""
    pictures = Path(config.pictures().files)
    if not config.sources:
        raise ConfigError("`sources` is empty: name at least one place to collect from")
    for source in config.sources:
        if isinstance(source, FolderConfig) and (
            holds(Path(source.path), pictures) or holds(pictures, Path(source.path))
        ):
            raise ConfigError(f"`sources`: {source.path} and the folder of pictures, {pictures}, must lie apart")
    return Places(pictures, Path(config.meta))


async def main(config: RaterConfig) -> int:
    where = places(config)
    database = RaterDatabase(Path(config.database))
    try:
        with locked(Path(config.database + ".crawl.lock")):
            async with Fetcher(config.crawl, filter(None, (source.host for source in config.sources))) as fetcher:
                sources = [open_source(source, fetcher) for source in config.sources]
                return await work(Crawl(config.crawl, sources, where, Records(database, config.crawl.allow_adult)))
    finally:
        database.close()


async def work(crawl: Crawl) -> int:
    """The exit status; the summary is printed however it ends."""
    task = asyncio.create_task(crawl.run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    showing = asyncio.create_task(show(crawl))
    try:
        await task
    except asyncio.CancelledError:
        crawl.ended = "asked to stop"
        return 0
    finally:
        showing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await showing
        print(summary(crawl))
    return int(all(tally.problem is not None for tally in crawl.tallies.values()))


if __name__ == "__main__":
    raise SystemExit(run_program(RaterConfig, main, sys.argv))
