"""How far long work is: done, total, rate and time left, for the page, the log and metrics."""

import asyncio
import logging
import time
from collections import deque

import msgspec

log = logging.getLogger(__name__)
WINDOW_SECONDS = 15.0


class ProgressReport(msgspec.Struct):
    """`rate` in items per second over the last seconds; `seconds_left` is None while unknown."""

    state: str
    done: int
    total: int
    rate: float
    seconds_left: float | None
    message: str | None = None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        return f"{self.done:,} / {self.total:,}, {self.rate:.1f}/s{left}"


class Progress:
    """Counts one run of work at a time."""

    def __init__(self) -> None:
        self.state = self._doing = "idle"
        self.message: str | None = None
        self._done = 0
        self._total = 0
        self._marks: deque[tuple[float, int]] = deque()

    def start(self, state: str, total: int) -> None:
        self.state = self._doing = state
        self.message = None
        self._done, self._total = 0, total
        self._marks.clear()
        self._marks.append((time.monotonic(), 0))

    def advance(self, count: int) -> None:
        """Count what is done; work that was not announced by `start` is too little to be told of."""
        if self.state == "idle":
            return
        self._done += count
        now = time.monotonic()
        self._marks.append((now, self._done))
        while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW_SECONDS:
            self._marks.popleft()

    def wait(self, reason: str) -> None:
        """Say that the work stands still, and why; the log is told once."""
        if self.state != "waiting":
            log.warning("%s waits: %s", self.state, reason)
        self.state, self.message = "waiting", reason

    def go_on(self) -> None:
        """Say that work which stood still moves again."""
        if self.state == "waiting":
            self.state, self.message = self._doing, None

    def finish(self) -> None:
        self.state, self.message = "idle", None

    def resting(self) -> bool:
        """Whether nothing is being done: background work of others may go on."""
        return self.state in ("idle", "waiting")

    async def until_resting(self) -> None:
        while not self.resting():
            await asyncio.sleep(0.5)

    def report(self) -> ProgressReport:
        rate = 0.0
        if self.state != "idle" and self._marks:
            seconds = time.monotonic() - self._marks[0][0]
            rate = (self._done - self._marks[0][1]) / seconds if seconds > 0 else 0.0
        left = (self._total - self._done) / rate if rate > 0 else None
        return ProgressReport(self.state, self._done, self._total, rate, left, self.message)
