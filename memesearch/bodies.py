"""Reading request bodies from clients that may be slow, lie about their length, or leave.

Only what has arrived is counted, so that nobody pays for what somebody else announces.
"""

import asyncio

from aiohttp import BodyPartReader, web

from memesearch.admission import Hold
from memesearch.errors import BadRequest, MemeSearchError, SlowClient, TooLarge, UnsupportedType

GRACE_SECONDS = 10.0
SLOWEST = 2**20  # bytes a second, after the grace
FORM_CHUNK = 2**16


def patience(size: int) -> float:
    """Seconds that a client has for a body of `size` bytes."""
    return GRACE_SECONDS + size / SLOWEST


async def read_all(request: web.Request, most: int, held: Hold) -> bytes:
    """The whole body, counted in `held` as it arrives.

    Raises:
        TooLarge: more than `most` bytes. SlowClient, Overloaded, UnsupportedType.
    """
    check_length(request, most)
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(patience(request.content_length or most)):
            async for chunk, _ in request.content.iter_chunks():
                take(chunk, most, held)
                chunks.append(chunk)
    except TimeoutError as error:
        raise SlowClient("the request's body did not arrive in time") from error
    return b"".join(chunks)


async def read_form(request: web.Request, most: int, held: Hold) -> dict[str, bytes]:
    """The fields of a multipart form by name. Raises as `read_all` does, and BadRequest for what is no form."""
    check_length(request, most)
    fields: dict[str, bytes] = {}
    try:
        async with asyncio.timeout(patience(request.content_length or most)):
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader):
                    raise BadRequest("the form has a form in it")
                chunks = []
                while chunk := await part.read_chunk(FORM_CHUNK):
                    take(chunk, most, held)
                    chunks.append(chunk)
                fields[part.name or ""] = b"".join(chunks)
    except TimeoutError as error:
        raise SlowClient("the request's body did not arrive in time") from error
    except (MemeSearchError, web.HTTPException, ConnectionError, web.RequestPayloadError):
        raise
    except Exception as error:  # what is no form makes aiohttp raise errors of many kinds
        raise BadRequest(f"the body is not a form: {error}") from error
    return fields


def take(chunk: bytes, most: int, held: Hold) -> None:
    held.grow(len(chunk))
    if held.amount > most:
        raise TooLarge(f"the request is larger than {most} bytes")


def check_length(request: web.Request, most: int) -> None:
    """Raises TooLarge, and UnsupportedType for compressed bodies: their length says nothing of what they hold."""
    if "Content-Encoding" in request.headers:
        raise UnsupportedType("compressed bodies are not taken; send it as it is")
    if (request.content_length or 0) > most:
        raise TooLarge(f"the request is larger than {most} bytes")
