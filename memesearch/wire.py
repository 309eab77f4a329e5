"""Wire formats shared by programs: MessagePack bodies and little-endian float16 vectors."""

import base64
import binascii
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.errors import BadRequest

Vectors = NDArray[np.float16]
MESSAGEPACK = "application/msgpack"


class EmbedRequest(msgspec.Struct):
    """Body of `POST /` of the embedding service: exactly one of the two lists."""

    text: list[str] | None = None
    images: list[bytes] | None = None


class ServiceConfig(msgspec.Struct):
    """Answer of `GET /config` of the embedding service; unknown extra keys are ignored.

    The last four say how a picture becomes model input, so that clients can resize ahead.
    """

    model: str
    batch: int
    image_size: tuple[int, int]
    embedding_size: int
    model_id: str | None = None
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill_color: int = 0


def pack(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)


def to_bytes(vector: NDArray[Any]) -> bytes:
    """One vector as little-endian float16 bytes."""
    return vector.astype("<f2").tobytes()


def from_bytes(raw: bytes) -> Vectors:
    """The inverse of `to_bytes`: float16 [d]."""
    return np.frombuffer(raw, dtype="<f2")


def from_base64(text: str, what: str) -> bytes:
    """Decode standard or URL-safe base64, with or without padding. Raises BadRequest naming `what`."""
    cleaned = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(cleaned + "=" * (-len(cleaned) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"{what} is not valid base64") from error
