"""Batches across requests: the next batch forms while the device is busy with the last one.

No timer: a batch is whatever waits when the device becomes free. Interactive items pass before bulk
ones, but every fourth batch goes to bulk when both wait, so that bulk is never starved.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

from memesearch.errors import Overloaded
from memesearch.wire import Vectors, to_bytes

Modality = Literal["text", "image"]
Encode = Callable[[list[Any]], Vectors]
INTERACTIVE_BATCHES_IN_A_ROW = 3


@dataclass(eq=False)
class Job:
    """One request: its items wait one by one, its future ends when all have their vectors."""

    items: list[Any]
    answer: asyncio.Future[list[bytes]]
    vectors: list[bytes | None] = field(default_factory=list)
    missing: int = 0

    def __post_init__(self) -> None:
        self.vectors = [None] * len(self.items)
        self.missing = len(self.items)


class Batcher:
    """Runs `encode` functions on one thread, over batches made of many requests' items."""

    def __init__(
        self,
        encoders: dict[Modality, Encode],
        max_batch_size: int,
        max_waiting: int,
        observe: Callable[[Modality, int, float], None] = lambda modality, size, seconds: None,
    ) -> None:
        self._encoders = encoders
        self._max_batch_size = max_batch_size
        self._max_waiting = max_waiting
        self._observe = observe
        self._queues: dict[tuple[bool, Modality], deque[tuple[Job, int]]] = {
            (interactive, modality): deque() for interactive in (True, False) for modality in ("text", "image")
        }
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._interactive_in_a_row = 0

    @property
    def waiting(self) -> int:
        """Items that no batch has taken yet, cancelled ones included until they are met."""
        return sum(len(queue) for queue in self._queues.values())

    async def submit(self, modality: Modality, items: list[Any], interactive: bool) -> list[bytes]:
        """The items' vectors, in order, as little-endian float16 bytes.

        Raises:
            Overloaded: more than `max_waiting` items wait already (a lone large request is let in).
        """
        if not items:
            return []
        if self.waiting and self.waiting + len(items) > self._max_waiting:
            raise Overloaded(f"{self.waiting} items wait already; try again in a moment")
        job = Job(items, asyncio.get_running_loop().create_future())
        self._queues[interactive, modality].extend((job, i) for i in range(len(items)))
        self._arrived.set()
        return await job.answer

    async def run(self) -> None:
        """Serve batches until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while batch := self._next_batch():
                    await self._serve(*batch)
        finally:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _next_batch(self) -> tuple[Modality, list[tuple[Job, int]]] | None:
        self._drop_cancelled()
        order = [(True, "text"), (True, "image"), (False, "text"), (False, "image")]
        if self._interactive_in_a_row >= INTERACTIVE_BATCHES_IN_A_ROW:
            order = order[2:] + order[:2]
        for interactive, modality in order:
            queue = self._queues[interactive, modality]  # type: ignore[index]
            if queue:
                self._interactive_in_a_row = self._interactive_in_a_row + 1 if interactive else 0
                size = min(len(queue), self._max_batch_size)
                return modality, [queue.popleft() for _ in range(size)]  # type: ignore[return-value]
        return None

    def _drop_cancelled(self) -> None:
        for key, queue in self._queues.items():
            if any(job.answer.done() for job, _ in queue):
                self._queues[key] = deque(entry for entry in queue if not entry[0].answer.done())

    async def _serve(self, modality: Modality, batch: list[tuple[Job, int]]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            inputs = [job.items[i] for job, i in batch]
            vectors = await loop.run_in_executor(self._thread, self._encoders[modality], inputs)
        except Exception as error:  # whatever the device raised is the answer of each request in the batch
            for job, _ in batch:
                if not job.answer.done():
                    job.answer.set_exception(error)
            return
        self._observe(modality, len(batch), loop.time() - started)
        for (job, i), vector in zip(batch, vectors, strict=True):
            job.vectors[i] = to_bytes(vector)
            job.missing -= 1
            if job.missing == 0 and not job.answer.done():
                job.answer.set_result([v for v in job.vectors if v is not None])
