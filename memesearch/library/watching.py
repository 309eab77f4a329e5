"""Looking at the folder again soon after something in it has changed.

What changed is not trusted to be all: every change leads to a whole scan, so nothing depends on whether the system told
of each file. Scans take at most a tenth of the time.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event, Thread

from watchfiles import Change, watch

from memesearch.library.library import Summary
from memesearch.library.scan import EXTENSIONS, is_cache

log = logging.getLogger(__name__)
BEGUN_ANEW_SECONDS = 3600.0  # another disk may be mounted there by now; network file systems tell of nothing
GROUPED_MS = 1600  # changes within this time lead to one scan
QUIET_MS = 1000
REST = 9  # times as long as the last scan took
LEAST_REST_SECONDS = 1.0


class FolderWatch:
    """Calls `look` after changes below `root`, once at the beginning, and at least once an hour."""

    def __init__(self, root: Path, look: Callable[[], Awaitable[Summary]]) -> None:
        self._root, self._look = root, look
        self._news = asyncio.Event()
        self._told: set[str] = set()

    async def run(self) -> None:
        """The background task."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with self._watched(), asyncio.timeout(BEGUN_ANEW_SECONDS):
                    while True:
                        await self._news.wait()
                        self._news.clear()
                        await self._look_until_quiet()

    async def _look_until_quiet(self) -> None:
        """Once more after a scan that found something: it may have passed by what came later."""
        scan_seconds, settled = 0.0, False
        while not settled:
            try:
                summary = await self._look()
            except Exception:  # the library tells of it, and tries again by itself
                settled = True
            else:
                scan_seconds, settled = summary.scan_seconds, not (summary.added_or_changed or summary.gone)
            await asyncio.sleep(max(LEAST_REST_SECONDS, REST * scan_seconds))

    @asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Be told of changes, by a thread: to begin takes a while where there are many folders."""
        stop, loop = Event(), asyncio.get_running_loop()
        thread = Thread(target=self._tell_changes, args=(loop, stop), name="watch")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            await asyncio.to_thread(thread.join)

    def _tell_changes(self, loop: asyncio.AbstractEventLoop, stop: Event) -> None:
        begun = False
        try:
            for changes in watch(
                self._root,
                watch_filter=self.concerns,
                debounce=GROUPED_MS,
                stop_event=stop,
                rust_timeout=QUIET_MS,
                yield_on_timeout=True,
                ignore_permission_denied=False,  # else every failure is passed over, with whatever would come after it
            ):
                if changes or not begun:
                    loop.call_soon_threadsafe(self._news.set)
                begun = True
        except (OSError, RuntimeError) as error:  # a folder that is away or cannot be read, or too many of them
            way_out = "; raise fs.inotify.max_user_watches" if "limit" in str(error) else ""
            self._warn(f"{self._root} cannot be watched ({error}), so it is looked through once an hour{way_out}")
            loop.call_soon_threadsafe(self._news.set)

    def _warn(self, problem: str) -> None:
        """Once for each; one that lasts is met every hour."""
        if problem not in self._told:
            log.warning("%s", problem)
        self._told.add(problem)

    def concerns(self, _change: Change, path: str) -> bool:
        """Whether a change at `path` may be one of the library: of a picture, or of a folder."""
        parts = Path(os.path.relpath(path, self._root)).parts
        if any(part.startswith(".") for part in parts):
            return False
        if os.path.splitext(path)[1].lower() not in EXTENSIONS and os.path.isfile(path):
            return False
        return not any(is_cache(self._root.joinpath(*parts[:depth])) for depth in range(1, len(parts)))
