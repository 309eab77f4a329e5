"""Asking the search backend of the library whether it has a picture, or one so alike that it is the same."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch import wire
from memesearch.errors import MemeSearchError, Unavailable, UnreadablePicture, why_no_answer

TIMEOUT = aiohttp.ClientTimeout(total=60, connect=5)


class NotTaken(MemeSearchError):
    """The backend does not take this picture, today or tomorrow: it is too large, say, or in a format that is new."""


class Status(msgspec.Struct):
    """What of `GET /api/status` matters here."""

    embedding_service: dict[str, str | None]


class LibraryCheck:
    """One backend. `same_model`: whether it compares vectors of the same model as ours, or has to embed pictures."""

    def __init__(self, url: str, session: aiohttp.ClientSession, similarity: float) -> None:
        self.url = url.rstrip("/") + "/"
        self.same_model = False
        self._session = session
        self._similarity = similarity

    async def connect(self, model_id: str) -> None:
        """Find out what model the backend has. Raises Unavailable."""
        try:
            status = msgspec.json.decode(await self._ask("GET", "api/status"), type=Status)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{self.url} does not answer like a search backend: {error}") from error
        service = status.embedding_service
        self.same_model = service.get("state") == "ready" and service.get("model_id") == model_id

    async def find(self, vector: NDArray[np.float32], picture: Path) -> str | None:
        """The library's file that shows the same as a picture, if there is one.

        `vector`: float32 [d], unit norm, ours of the picture.

        Raises:
            Unavailable: the backend cannot say now.
            NotTaken: it does not take this picture.
            UnreadablePicture: the file cannot be read.
        """
        if self.same_model:
            encoded = base64.urlsafe_b64encode(wire.to_bytes(vector)).decode().rstrip("=")
            term = {"embedding": encoded}
        else:
            try:
                raw = await asyncio.to_thread(picture.read_bytes)
            except OSError as error:
                raise UnreadablePicture(f"it cannot be read: {error.strerror}") from error
            term = {"image": base64.b64encode(raw).decode()}
        answer = await self._ask("POST", "", msgspec.json.encode({"terms": [term], "k": 1}))
        try:
            best = msgspec.json.decode(answer)["matches"][:1]
            return str(best[0][1]) if best and float(best[0][0]) >= self._similarity else None
        except (msgspec.DecodeError, KeyError, TypeError, ValueError, IndexError) as error:
            raise Unavailable(f"{self.url} does not answer like a search backend: {error}") from error

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._session.request(
                method, self.url + path, data=body, headers=headers, timeout=TIMEOUT
            ) as answer:
                raw = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(
                f"the library's backend at {self.url} does not answer ({why_no_answer(error)})"
            ) from error
        if answer.status in (400, 413, 422) and path == "" and not self.same_model:
            raise NotTaken(f"the library's backend does not take it: {sentence(raw, answer.status)}")
        if answer.status != 200:
            raise Unavailable(f"the library's backend at {self.url} cannot say: {sentence(raw, answer.status)}")
        return raw


def sentence(raw: bytes, status: int) -> str:
    try:
        told: Any = msgspec.json.decode(raw)
        return str(told["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"status {status}"
