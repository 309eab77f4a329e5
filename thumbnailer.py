"""Makes the thumbnails of a library that mse.py has indexed, and deletes those of pictures that are gone.

    python thumbnailer.py thumbnailer_config.json               make what is missing
    python thumbnailer.py thumbnailer_config.json gen-formats   write formats.json into the output folder

Meant for a timer: a run goes on where the one before stopped, and two never work at once.
"""

import asyncio
import contextlib
import signal
import sys
import time
from pathlib import Path

from tqdm import tqdm

from memesearch.config import ThumbnailerConfig
from memesearch.errors import ConfigError
from memesearch.library.store import Store
from memesearch.machine import usable_cores
from memesearch.thumbs.folder import Busy
from memesearch.thumbs.formats import BY_NAME, chosen, formats_json
from memesearch.thumbs.state import ThumbnailState
from memesearch.thumbs.thumbnailer import Summary, Thumbnailer
from memesearch.thumbs.worker import put
from memesearch.web import run_program

BUSY_SECONDS = 2.0  # until the folder is looked at again
LOG_SECONDS = 30.0  # between two lines where there is no terminal


async def main(config: ThumbnailerConfig) -> int:
    kinds = chosen(BY_NAME if config.formats is None else config.formats, "formats")
    if not Path(config.database).is_file():
        raise ConfigError(f"`database`: there is no {config.database}; index the pictures with mse.py first")
    if not Path(config.input).is_dir():
        raise ConfigError(f"`input`: {config.input} is not a folder")
    output = Path(config.output)
    async with Store.open(Path(config.database)) as store:
        thumbnailer = Thumbnailer(store, Path(config.input), output, kinds, config.workers or usable_cores())
        task = asyncio.create_task(in_turn(thumbnailer))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        showing = asyncio.create_task(show(thumbnailer))
        try:
            summary = await task
        except asyncio.CancelledError:
            return 0
        finally:
            showing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await showing
            await thumbnailer.close()
    await tell(summary, output)
    return 0


async def in_turn(thumbnailer: Thumbnailer) -> Summary:
    """One run, after those of others: of the search backend for example."""
    said = False
    while True:
        try:
            return await thumbnailer.run()
        except Busy as error:
            if not said:
                print(f"{error}: waiting for it", file=sys.stderr)
            said = True
            await asyncio.sleep(BUSY_SECONDS)


async def show(thumbnailer: Thumbnailer) -> None:
    """Progress with rate and time left: a bar on a terminal, else a line now and then."""
    progress = thumbnailer.progress
    told = time.monotonic()
    with tqdm(unit=" thumbnails", disable=not sys.stderr.isatty(), dynamic_ncols=True) as bar:
        while True:
            try:
                await asyncio.sleep(0.2)
            finally:  # also when it is over
                report = progress.report()
                if report.state != "comparing":
                    bar.total = report.total
                    bar.update(report.done - bar.n)
            if report.state != "thumbnails":
                continue
            if bar.disable and time.monotonic() - told > LOG_SECONDS:
                told = time.monotonic()
                print(f"thumbnails: {report}", file=sys.stderr)


async def tell(summary: Summary, output: Path) -> None:
    print(
        f"{summary.pictures:,} pictures: {summary.made:,} thumbnails made, {summary.there:,} were there, "
        f"{summary.removed:,} removed, {summary.failed:,} cannot be made"
    )
    if summary.changed:
        print(f"{summary.changed:,} pictures went or changed since they were indexed; index them, then run again")
    if summary.failed:
        async with ThumbnailState.open(output) as state:
            for path, name, reason in await state.failures():
                print(f"{path!r}, {name}: {reason}")


async def write_formats(config: ThumbnailerConfig) -> int:
    """`gen-formats`."""
    target = Path(config.output) / "formats.json"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        put(target, formats_json(), "")
    except OSError as error:
        raise ConfigError(f"`output`: {target} cannot be written: {error.strerror}") from error
    print(f"wrote {target}")
    return 0


if __name__ == "__main__":
    if sys.argv[2:] == ["gen-formats"]:
        raise SystemExit(run_program(ThumbnailerConfig, write_formats, sys.argv[:2]))
    raise SystemExit(run_program(ThumbnailerConfig, main, sys.argv))
