"""Asynchronous client of the embedding service."""

import asyncio
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import numpy as np
from PIL import Image

from memesearch import wire
from memesearch.errors import BadRequest, MemeSearchError, Overloaded, Unavailable, why_no_answer

log = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between tries while the service is away
BULK = aiohttp.ClientTimeout(total=600, connect=5)
ASKED = aiohttp.ClientTimeout(total=10, connect=5)  # somebody waits, and can be answered by words alone


class ModelChanged(MemeSearchError):
    """The service answered with another model than it said it had."""

    status = 503
    retry_after = 5


class ClipClient:
    """Talks to one embedding service. `config` is what the service last said of itself."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url.rstrip("/") + "/"
        self.config: wire.ServiceConfig | None = None
        self.problem: str | None = "has not been reached yet"
        self._session = session

    async def refresh(self) -> wire.ServiceConfig:
        """Ask the service what it is. Raises Unavailable."""
        try:
            raw, _ = await self._request("GET", "config", ASKED)
            config = msgspec.msgpack.decode(raw, type=wire.ServiceConfig)
        except (BadRequest, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.problem = f"{self.url} does not speak like an embedding service: {error}"
            raise Unavailable(self.problem) from error
        if config.model_id is None:  # a service that only speaks the fixed protocol
            described = f"{config.model}/{config.embedding_size}/{config.image_size}"
            config.model_id = f"unnamed-{hashlib.blake2b(described.encode(), digest_size=8).hexdigest()}"
        self.config = config
        return config

    async def wait_until_ready(self, notice: Callable[[str], None]) -> wire.ServiceConfig:
        """Like `refresh`, but keeps trying; `notice` is told why it waits."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self.refresh()
            except Unavailable as error:
                notice(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def embed_text(self, texts: list[str], model_id: str) -> list[bytes]:
        """float16 vectors of texts, for somebody who waits. Raises what `embed_pictures` raises."""
        return await self._embed({"text": texts}, len(texts), model_id, ASKED)

    async def embed_pictures(self, pictures: list[bytes], model_id: str) -> list[bytes]:
        """float16 vectors of encoded pictures, for somebody who waits.

        Raises:
            Unavailable, Overloaded, ModelChanged, BadRequest (with index).
        """
        return await self._embed({"images": pictures}, len(pictures), model_id, ASKED)

    async def embed_pixels(self, pictures: list[bytes], model_id: str) -> list[bytes]:
        """float16 vectors of pictures fitted to the model's size, RGB pixels each, as bulk work.

        Raises:
            Unavailable, Overloaded, ModelChanged, BadRequest (with index, from services that tell it).
        """
        assert self.config is not None
        width, height = self.config.image_size
        if not self.config.pixels:  # a service that only speaks the fixed protocol
            bitmaps = [as_bmp(raw, width, height) for raw in pictures]
            return await self._embed({"images": bitmaps}, len(pictures), model_id, BULK)
        header = wire.PixelHeader(len(pictures), width, height)
        pieces = [header.pack(), *pictures]
        described = {"Content-Type": wire.PIXELS, "X-Priority": "bulk", "Content-Length": str(sum(map(len, pieces)))}
        try:
            raw, headers = await self._request("POST", "pixels", BULK, one_by_one(pieces), described)
        except BadRequest as error:
            if error.index is not None:
                raise
            now = await self.refresh()  # what is wrong with all of them is their size: another model took over
            if now.model_id != model_id:
                raise ModelChanged(f"the embedding service now serves {now.model_id}") from error
            raise Unavailable(f"{self.url} does not take what it asked for: {error}") from error
        size = self.config.embedding_size * 2
        vectors = [raw[start : start + size] for start in range(0, len(raw), size)]
        return self._checked(vectors, headers, len(pictures), model_id)

    async def _embed(
        self, body: dict[str, Any], count: int, model_id: str, timeout: aiohttp.ClientTimeout
    ) -> list[bytes]:
        raw, headers = await self._request("POST", "", timeout, wire.pack(body), {"Content-Type": wire.MESSAGEPACK})
        try:
            vectors = msgspec.msgpack.decode(raw, type=list[bytes])
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.url} answered something that is not a list of vectors") from error
        return self._checked(vectors, headers, count, model_id)

    def _checked(self, vectors: list[bytes], headers: Any, count: int, model_id: str) -> list[bytes]:
        told = headers.get("X-Model-Id", model_id)
        if told != model_id:
            raise ModelChanged(f"the embedding service now serves {told}; pictures have to be embedded anew first")
        if len(vectors) != count:
            raise Unavailable(f"{self.url} answered {len(vectors)} vectors to {count} items")
        size = self.config.embedding_size if self.config else len(vectors[0]) // 2 if vectors else 0
        if any(len(vector) != 2 * size for vector in vectors):
            raise Unavailable(f"{self.url} says that its vectors have {size} numbers, but sends others")
        if not np.isfinite(np.frombuffer(b"".join(vectors), "<f2")).all():
            raise Unavailable(f"{self.url} sends vectors with numbers that are not finite")
        return vectors

    async def _request(
        self,
        method: str,
        path: str,
        timeout: aiohttp.ClientTimeout,
        body: bytes | AsyncIterator[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, Any]:
        try:
            async with self._session.request(
                method, self.url + path, data=body, headers=headers, timeout=timeout
            ) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.problem = f"the embedding service at {self.url} does not answer ({why_no_answer(error)})"
            raise Unavailable(self.problem) from error
        if response.status == 200:
            self.problem = None
            return raw, response.headers
        message = describe(raw, response.status)
        if response.status == 429:
            raise Overloaded(f"the embedding service at {self.url} has too much to do: {message}")
        if response.status not in (400, 422):  # only these say that it is the request's fault
            self.problem = f"the embedding service at {self.url} cannot answer now: {message}"
            raise Unavailable(self.problem)
        index = response.headers.get("X-Item-Index", "")
        raise BadRequest(f"the embedding service refused: {message}", int(index) if index.isdigit() else None)


def describe(raw: bytes, status: int) -> str:
    """What an error body says: MessagePack string, JSON `error`, or just the status."""
    for decode in (msgspec.msgpack.decode, msgspec.json.decode):
        try:
            value = decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if isinstance(value, str):
            return value
        if isinstance(value, dict) and isinstance(value.get("error"), str):
            return str(value["error"])
    return f"status {status}"


async def one_by_one(pieces: list[bytes]) -> AsyncIterator[bytes]:
    """A request's body that is never joined in memory."""
    for piece in pieces:
        yield piece


def as_bmp(pixels: bytes, width: int, height: int) -> bytes:
    """RGB pixels as a BMP file."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (width, height), pixels).save(buffer, "BMP")
    return buffer.getvalue()
