"""A fixed number of places for pictures that wait for the device: one block of memory, allocated once."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray


class PixelArena:
    """Lends slots of `pixels`, uint8 [slots, height, width, 3]. Use from one event loop."""

    def __init__(self, pixels: NDArray[np.uint8], reserve: int) -> None:
        """`reserve` slots are kept for interactive requests, so that bulk never makes a person wait."""
        self.pixels = pixels
        self._free = list(range(len(pixels)))
        self._reserve = reserve
        self._turn = {True: asyncio.Lock(), False: asyncio.Lock()}  # the first come is served first
        self._freed = asyncio.Event()

    def bytes_of(self, start: int, stop: int) -> memoryview:
        """The slots [start, stop) as writable bytes."""
        return self.pixels[start:stop].reshape(-1).data

    def has(self, count: int, interactive: bool) -> bool:
        """Whether nobody waits and so many slots are free."""
        keep = 0 if interactive else self._reserve
        return not self._turn[interactive].locked() and len(self._free) - keep >= count

    @asynccontextmanager
    async def slots(self, count: int, interactive: bool) -> AsyncIterator[list[int]]:
        """Numbers of `count` slots, ascending; waits until there are so many.

        Raises:
            ValueError: there are not so many slots at all.
        """
        keep = 0 if interactive else self._reserve
        if count + keep > len(self.pixels):
            raise ValueError(f"{count} slots of {len(self.pixels) - keep}")
        async with self._turn[interactive]:
            while len(self._free) - keep < count:
                self._freed.clear()
                await self._freed.wait()
            taken = [heapq.heappop(self._free) for _ in range(count)]  # the lowest, so that they lie side by side
        try:
            yield taken
        finally:
            for slot in taken:
                heapq.heappush(self._free, slot)
            self._freed.set()


def runs(slots: Sequence[int]) -> list[tuple[int, int]]:
    """Slots as ranges [start, stop) that lie side by side, in the given order."""
    found: list[tuple[int, int]] = []
    for slot in slots:
        if found and found[-1][1] == slot:
            found[-1] = (found[-1][0], slot + 1)
        else:
            found.append((slot, slot + 1))
    return found
