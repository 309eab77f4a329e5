"""Wire formats shared by programs: MessagePack bodies and little-endian float16 vectors."""

import base64
import binascii
import struct
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.errors import BadRequest

Vectors = NDArray[np.float16]
MESSAGEPACK = "application/msgpack"
PIXELS = "application/octet-stream"
PIXEL_MAGIC = b"RGB8"
PIXEL_HEADER = struct.Struct("<4sIII")
ResizeMode = Literal["shortest", "longest", "squash"]  # OpenCLIP's terms
Interpolation = Literal["bicubic", "bilinear", "nearest", "random"]
Count = Annotated[int, msgspec.Meta(ge=1, le=65_536)]


class EmbedRequest(msgspec.Struct):
    """Body of `POST /` of the embedding service: exactly one of the two lists."""

    text: list[str] | None = None
    images: list[bytes] | None = None


class ServiceConfig(msgspec.Struct):
    """Answer of `GET /config` of the embedding service; unknown extra keys are ignored.

    `resize_mode`, `interpolation` and `fill_color` say how a picture becomes model input, so that clients
    can resize ahead; `pixels` that `POST /pixels` is there to take the result; `parallel` how many
    requests are worth having in flight.
    """

    model: str
    batch: Count
    image_size: tuple[Count, Count]
    embedding_size: Count
    model_id: str | None = None
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill_color: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    pixels: bool = False
    parallel: Count = 2
    precision: str | None = None


class PixelHeader(msgspec.Struct, frozen=True):
    """What stands before the pixels in a body of `POST /pixels`: 16 bytes, little-endian.

    `RGB8`, then count, width and height as 32-bit numbers; uint8 [count, height, width, 3] follows.
    """

    count: int
    width: int
    height: int

    def pack(self) -> bytes:
        return PIXEL_HEADER.pack(PIXEL_MAGIC, self.count, self.width, self.height)

    @classmethod
    def unpack(cls, raw: bytes) -> "PixelHeader":
        """Raises BadRequest when these are not the bytes of a header."""
        if len(raw) != PIXEL_HEADER.size or raw[:4] != PIXEL_MAGIC:
            raise BadRequest("the body does not begin with the 16 bytes of a header: RGB8, count, width, height")
        return cls(*PIXEL_HEADER.unpack(raw)[1:])

    @property
    def body_bytes(self) -> int:
        """Bytes of the pixels alone."""
        return self.count * self.width * self.height * 3


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
