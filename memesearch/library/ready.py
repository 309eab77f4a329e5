"""Decoded pictures on their way to the embedding service: bounded, and taken a batch at a time."""

import asyncio
from collections import deque

import msgspec

from memesearch.library.records import Content


class Prepared(msgspec.Struct):
    """A decoded picture: its frames are RGB pixels of the model's size."""

    content: Content
    frames: list[bytes]


class Ready:
    """The service is asked for a full batch, or for less when it would otherwise have nothing to do.

    So a slow service gets full batches, a fast one whatever there is, and neither needs a timer.
    """

    def __init__(self, batch: int, parallel: int) -> None:
        """`parallel`: how many batches may be at the service at once."""
        self._batch = batch
        self._most = (parallel + 1) * batch
        self._items: deque[Prepared] = deque()
        self._frames = 0
        self._taken = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def put(self, item: Prepared) -> None:
        """Add a picture; waits while enough is there."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._frames < self._most)
            self._items.append(item)
            self._frames += len(item.frames)
            self._changed.notify_all()

    async def end(self) -> None:
        """Say that no more will come."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def take(self) -> list[Prepared]:
        """The next batch, to be followed by `done`; empty when all is taken."""
        async with self._changed:
            await self._changed.wait_for(self._worth_taking)
            batch: list[Prepared] = []
            frames = 0
            while self._items and (not batch or frames + len(self._items[0].frames) <= self._batch):
                batch.append(self._items.popleft())
                frames += len(batch[-1].frames)
            self._frames -= frames
            self._taken += bool(batch)
            self._changed.notify_all()
            return batch

    async def done(self) -> None:
        """Say that a batch has come back from the service."""
        async with self._changed:
            self._taken -= 1
            self._changed.notify_all()

    def _worth_taking(self) -> bool:
        return self._ended or self._frames >= self._batch or (bool(self._items) and self._taken == 0)
