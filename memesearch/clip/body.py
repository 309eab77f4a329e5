"""Pixels from the network straight into memory that is there already."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from memesearch.admission import Hold
from memesearch.bodies import patience
from memesearch.errors import BadRequest, SlowClient

QUICK = 32 * 2**20  # bytes a second: who sends so fast is next door, and may be read straight into slots
GRACE_WITH_SLOTS, SLOWEST_WITH_SLOTS = 2.0, 8 * 2**20  # seconds, bytes a second: others wait for these slots


class BodyReader:
    """Puts a body straight into memory that is there already, without a copy of the whole."""

    def __init__(self, request: web.Request, size: int) -> None:
        """`size`: how many bytes the body should have."""
        self._content = request.content
        self._left = patience(size)
        self._rest = memoryview(b"")

    async def prefetch(self, size: int, held: Hold) -> bool:
        """Wait until `size` bytes have arrived, or the body has ended: who is slow is so at its own cost.

        Args:
            held: counts what is kept here meanwhile.
        Returns:
            Whether they came so fast that what follows may be awaited with slots in hand.
        """
        arrived = [self._rest]
        count = len(self._rest)
        before = self._left
        while count < size and await self._more():
            held.grow(len(self._rest))
            arrived.append(self._rest)
            count += len(self._rest)
        self._rest = memoryview(b"".join(arrived)) if len(arrived) > 1 else arrived[0]
        return (before - self._left) * QUICK <= count

    @contextmanager
    def hurried(self, size: int) -> Iterator[None]:
        """For as long as slots are held for the next `size` bytes the client has less time."""
        before = self._left
        self._left = allowed = min(before, GRACE_WITH_SLOTS + size / SLOWEST_WITH_SLOTS)
        yield
        self._left += before - allowed

    async def into(self, target: memoryview) -> None:
        """Fill `target`, a view of bytes. Raises BadRequest (the body ended before), SlowClient."""
        filled = 0
        while filled < len(target):
            if not self._rest and not await self._more():
                raise BadRequest("the body is shorter than its header says")
            part = self._rest[: len(target) - filled]
            target[filled : filled + len(part)] = part
            filled += len(part)
            self._rest = self._rest[len(part) :]

    async def end(self) -> None:
        """Raises BadRequest when there is more."""
        if self._rest or await self._more():
            raise BadRequest("the body is longer than its header says")

    async def _more(self) -> bool:
        """Take the next bytes from the network; False at the end. Only the client's time counts."""
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                async with asyncio.timeout(max(self._left, 0.01)):
                    data, end_of_chunk = await self._content.readchunk()
            except TimeoutError as error:
                raise SlowClient("the request's body did not arrive in time") from error
            self._left -= loop.time() - started
            if data:
                self._rest = memoryview(data)
                return True
            if not end_of_chunk:
                return False
