"""Reading request bodies from clients that may be slow, lie about their length, or leave."""

import asyncio
from typing import Any

from aiohttp import web

from memesearch.clip.admission import Hold
from memesearch.errors import BadRequest, SlowClient, TooLarge, UnsupportedType

GRACE_SECONDS = 10.0
SLOWEST = 2**20  # bytes a second, after the grace


def patience(size: int) -> float:
    """Seconds that a client has for a body of `size` bytes."""
    return GRACE_SECONDS + size / SLOWEST


async def read_all(request: web.Request, most: int, held: Hold) -> bytes:
    """The whole body. What has arrived is counted in `held`; what is only announced costs nobody anything.

    Raises:
        TooLarge: more than `most` bytes. SlowClient, Overloaded.
    """
    check_length(request, most)
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(patience(request.content_length or most)):
            async for chunk, _ in request.content.iter_chunks():
                held.grow(len(chunk))
                chunks.append(chunk)
                if held.amount > most:
                    raise TooLarge(f"the request is larger than {most} bytes")
    except TimeoutError as error:
        raise SlowClient("the request's body did not arrive in time") from error
    return b"".join(chunks)


async def read_form(request: web.Request, most: int, held: Hold) -> Any:
    """The fields of a form. Raises as `read_all` does, and BadRequest for what is no form."""
    check_length(request, most)
    held.grow(request.content_length or most)
    try:
        async with asyncio.timeout(patience(request.content_length or most)):
            return await request.post()
    except TimeoutError as error:
        raise SlowClient("the request's body did not arrive in time") from error
    except (web.HTTPException, ConnectionError, web.RequestPayloadError):
        raise
    except Exception as error:  # what is no form makes aiohttp raise errors of many kinds
        raise BadRequest(f"the body is not a form: {error}") from error


def check_length(request: web.Request, most: int) -> None:
    """Raises TooLarge, and UnsupportedType for compressed bodies: their length says nothing of what they hold."""
    if "Content-Encoding" in request.headers:
        raise UnsupportedType("compressed bodies are not taken; send it as it is")
    if (request.content_length or 0) > most:
        raise TooLarge(f"the request is larger than {most} bytes")


class BodyReader:
    """Puts a body straight into memory that is there already, without a copy of the whole."""

    def __init__(self, request: web.Request, size: int) -> None:
        """`size`: how many bytes the body should have."""
        self._content = request.content
        self._left = patience(size)
        self._rest = memoryview(b"")

    async def prefetch(self, size: int) -> None:
        """Wait until `size` bytes have arrived, or the body has ended: who is slow is so at its own cost."""
        arrived = [self._rest]
        count = len(self._rest)
        while count < size and await self._more():
            arrived.append(self._rest)
            count += len(self._rest)
        self._rest = memoryview(b"".join(arrived)) if len(arrived) > 1 else arrived[0]

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
