"""Batches across requests: the next batch forms while the device is busy with the last one.

No timer: a batch is whatever waits when a lane of the device becomes free. Interactive items pass before
bulk ones, but every fourth batch of a lane goes to bulk when both wait, so that bulk is never starved.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from memesearch.errors import MemeSearchError, Unavailable
from memesearch.seldom import Seldom
from memesearch.wire import Vectors

log = logging.getLogger(__name__)
seldom = Seldom(log)
Modality = Literal["text", "image"]
Key = tuple[bool, Modality]  # (interactive, modality)
INTERACTIVE: tuple[Key, ...] = ((True, "text"), (True, "image"))
BULK: tuple[Key, ...] = ((False, "text"), (False, "image"))
INTERACTIVE_BATCHES_IN_A_ROW = 3
GOOD_BATCHES = 1000  # after a shortage of memory, before larger ones are tried again
# Starts a batch on the device; what it returns waits for the vectors, float16 [n, d].
Launch = Callable[[Modality, list[Any]], Callable[[], Vectors]]
# Is told of each batch, for metrics: kind, size, seconds that the oldest item waited, seconds on the device.
Observe = Callable[[Modality, int, float, float], None]


class OutOfDeviceMemory(Exception):
    """A batch did not fit on the device."""


class DeviceFailed(MemeSearchError):
    """The device, or the model on it, raised an error; the log has the details."""


class NotFinite(MemeSearchError):
    """The model made NaN or infinity of an item."""

    status = 422

    def __init__(self, index: int) -> None:
        super().__init__(f"the model has no finite vector for item {index}")
        self.index = index


@dataclass(eq=False)
class Job:
    """One request: its items wait together or in pieces, its future ends when all have their vectors."""

    items: Sequence[Any]
    answer: asyncio.Future[Vectors]
    since: float
    missing: int
    vectors: Vectors | None = None


@dataclass
class Piece:
    """The items [start, stop) of a job."""

    job: Job
    start: int
    stop: int


@dataclass(eq=False)
class Lane:
    """One stream of work on a device.

    Attributes:
        keys: what it takes, the first that waits first.
        largest: items in a batch; becomes smaller when the device runs out of memory, and larger again later.
        most: what `largest` was at first.
        depth: batches in flight; 2 where uploading overlaps computing.
        launcher: the thread that `launch` runs on; lanes of one device may share it.
    """

    keys: tuple[Key, ...]
    launch: Launch
    launcher: ThreadPoolExecutor
    largest: int
    depth: int = 1
    in_flight: int = 0
    interactive_in_a_row: int = 0
    good_batches: int = 0
    most: int = 0
    busy_seconds: float = 0.0
    busy_since: float = 0.0

    def __post_init__(self) -> None:
        self.most = self.largest

    def busy(self, now: float) -> float:
        """Seconds that this lane has had work since the start."""
        return self.busy_seconds + (now - self.busy_since if self.in_flight else 0.0)

    def begin(self, now: float) -> None:
        if not self.in_flight:
            self.busy_since = now
        self.in_flight += 1

    def end(self, now: float) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.busy_seconds += now - self.busy_since

    def step_down(self, size: int) -> None:
        """A batch of `size` did not fit: take at most half of it for a while."""
        self.largest, self.good_batches = max(1, min(self.largest, size // 2)), 0

    def went_well(self) -> None:
        """Try larger batches again after many good ones: the shortage may have been another program's."""
        self.good_batches += 1
        if self.largest < self.most and self.good_batches >= GOOD_BATCHES:
            self.largest, self.good_batches = min(self.most, 2 * self.largest), 0


class Batcher:
    """Spreads what waits over lanes: interactive work goes to the first free lane that takes it."""

    def __init__(self, lanes: list[Lane], observe: Observe = lambda modality, size, waited, computed: None) -> None:
        self._lanes = lanes
        self._observe = observe
        self._queues: dict[Key, deque[Piece]] = {key: deque() for key in (*INTERACTIVE, *BULK)}
        self._waiters = ThreadPoolExecutor(sum(lane.depth for lane in lanes), thread_name_prefix="finish")
        self._serving: set[asyncio.Task[None]] = set()

    def waiting(self) -> dict[Key, int]:
        """Items that no batch has taken yet."""
        return {key: sum(piece.stop - piece.start for piece in queue) for key, queue in self._queues.items()}

    def oldest(self) -> float:
        """Seconds that the oldest waiting item has waited."""
        since = [queue[0].job.since for queue in self._queues.values() if queue]
        return asyncio.get_running_loop().time() - min(since) if since else 0.0

    def busy_seconds(self) -> float:
        """Seconds that the lanes had work since the start, in the mean over those that take bulk work."""
        now = asyncio.get_running_loop().time()
        bulk = sum(not set(lane.keys).isdisjoint(BULK) for lane in self._lanes)
        return sum(lane.busy(now) for lane in self._lanes) / max(1, bulk)

    async def submit(self, modality: Modality, items: Sequence[Any], interactive: bool) -> Vectors:
        """The items' vectors in order, float16 [n, d]. At least one item.

        Raises:
            NotFinite: the model fails on an item. Unavailable: the device is out of memory for one item.
        """
        loop = asyncio.get_running_loop()
        job = Job(items, loop.create_future(), loop.time(), len(items))
        self._queues[interactive, modality].append(Piece(job, 0, len(items)))
        self._dispatch()
        return await job.answer

    def close(self) -> None:
        """Cancel what waits and let the threads end."""
        for task in self._serving:
            task.cancel()
        for lane in self._lanes:
            lane.launcher.shutdown(wait=False, cancel_futures=True)
        self._waiters.shutdown(wait=False, cancel_futures=True)

    def _dispatch(self) -> None:
        """Give batches to lanes as long as one takes one, the idlest lane first."""
        while any(self._start(lane) for lane in sorted(self._lanes, key=lambda lane: lane.in_flight)):
            pass

    def _start(self, lane: Lane) -> bool:
        if lane.in_flight >= lane.depth or not (batch := self._next_batch(lane)):
            return False
        lane.begin(asyncio.get_running_loop().time())
        task = asyncio.create_task(self._serve(lane, *batch))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        return True

    def _next_batch(self, lane: Lane) -> tuple[Key, list[Piece]] | None:
        """Interactive before bulk, but for every fourth batch; of the same kind, who has waited longest."""
        bulk_first = lane.interactive_in_a_row >= INTERACTIVE_BATCHES_IN_A_ROW
        waiting = [key for key in lane.keys if drop_given_up(self._queues[key])]
        for key in sorted(waiting, key=lambda key: (key[0] == bulk_first, self._queues[key][0].job.since)):
            if pieces := take(self._queues[key], lane.largest):
                lane.interactive_in_a_row = lane.interactive_in_a_row + 1 if key[0] else 0
                return key, pieces
        return None

    async def _serve(self, lane: Lane, key: Key, pieces: list[Piece]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        items = [item for piece in pieces for item in piece.job.items[piece.start : piece.stop]]
        try:
            finish = await loop.run_in_executor(lane.launcher, lane.launch, key[1], items)
            vectors = await loop.run_in_executor(self._waiters, finish)
            waited = started - min(piece.job.since for piece in pieces)
            self._observe(key[1], len(items), waited, loop.time() - started)
            hand_out(pieces, vectors)
            lane.went_well()
        except OutOfDeviceMemory:
            self._step_down(lane, key, pieces, len(items))
        except Exception as error:  # whatever the device raised is the answer of each request in the batch
            seldom.warning("batch", f"a batch of {len(items)} failed", error)
            give_up(pieces, DeviceFailed(f"the device failed: {error}"))
        finally:
            lane.end(loop.time())
            self._dispatch()

    def _step_down(self, lane: Lane, key: Key, pieces: list[Piece], size: int) -> None:
        if size == 1:
            give_up(pieces, Unavailable("the device has not enough memory for a single item"))
            return
        lane.step_down(size)
        log.warning("the device ran out of memory with a batch of %d; for now at most %d", size, lane.largest)
        self._queues[key].extendleft(reversed(pieces))


def drop_given_up(queue: deque[Piece]) -> bool:
    """Drop from the head what clients gave up on; whether anything is left."""
    while queue and queue[0].job.answer.done():
        queue.popleft()
    return bool(queue)


def take(queue: deque[Piece], most: int) -> list[Piece]:
    """Up to `most` items from the head of a queue; what clients gave up on is dropped."""
    taken: list[Piece] = []
    while most and drop_given_up(queue):
        piece = queue[0]
        stop = min(piece.stop, piece.start + most)
        taken.append(Piece(piece.job, piece.start, stop))
        most -= stop - piece.start
        piece.start = stop
        if piece.start == piece.stop:
            queue.popleft()
    return taken


def give_up(pieces: list[Piece], error: Exception) -> None:
    for piece in pieces:
        if not piece.job.answer.done():
            piece.job.answer.set_exception(error)


def hand_out(pieces: list[Piece], vectors: Vectors) -> None:
    """Give each job its rows; a job with a row that is not finite fails, and only that one."""
    finite = np.asarray(np.isfinite(vectors).all(axis=1))
    offset = 0
    for piece in pieces:
        job, size = piece.job, piece.stop - piece.start
        rows, good = vectors[offset : offset + size], finite[offset : offset + size]
        offset += size
        if job.answer.done():
            continue
        if not good.all():
            seldom.warning("finite", "the model made a vector that is not finite; its request was refused")
            job.answer.set_exception(NotFinite(piece.start + int(np.argmin(good))))
            continue
        if job.vectors is None:
            job.vectors = np.empty((len(job.items), vectors.shape[1]), np.float16)
        job.vectors[piece.start : piece.stop] = rows
        job.missing -= size
        if job.missing == 0:
            job.answer.set_result(job.vectors)
