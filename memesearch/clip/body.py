"""Reading request bodies from clients that may be slow, lie about their length, or leave."""

import asyncio
from typing import Any

from aiohttp import web

from memesearch.errors import BadRequest, SlowClient

GRACE_SECONDS = 10.0
SLOWEST = 2**20  # bytes a second, after the grace


def patience(size: int) -> float:
    """Seconds that a client has for a body of `size` bytes."""
    return GRACE_SECONDS + size / SLOWEST


async def read_all(request: web.Request) -> bytes:
    """The whole body. Raises SlowClient, or aiohttp's HTTPRequestEntityTooLarge."""
    try:
        async with asyncio.timeout(patience(request.content_length or request.client_max_size)):
            return await request.read()
    except TimeoutError as error:
        raise SlowClient("the request's body did not arrive in time") from error


async def read_form(request: web.Request) -> Any:
    """The fields of a form. Raises as `read_all` does, and BadRequest for what is no form."""
    try:
        async with asyncio.timeout(patience(request.content_length or request.client_max_size)):
            return await request.post()
    except TimeoutError as error:
        raise SlowClient("the request's body did not arrive in time") from error
    except ValueError as error:  # aiohttp's answer to a form that is none
        raise BadRequest(f"the body is not a form: {error}") from error


class BodyReader:
    """Puts a body straight into memory that is there already, without a copy of the whole."""

    def __init__(self, request: web.Request, size: int) -> None:
        """`size`: how many bytes the body should have."""
        self._content = request.content
        self._left = patience(size)
        self._rest = memoryview(b"")

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
                data, end_of_chunk = await asyncio.wait_for(self._content.readchunk(), max(self._left, 0.01))
            except TimeoutError as error:
                raise SlowClient("the request's body did not arrive in time") from error
            self._left -= loop.time() - started
            if data:
                self._rest = memoryview(data)
                return True
            if not end_of_chunk:
                return False
