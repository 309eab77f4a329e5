"""Requests to an embedding service, and pictures to send."""

import io
import urllib.error
import urllib.request
from typing import Any

import msgspec
import numpy as np
from PIL import Image
from services import Program


def ask(service: Program, path: str, body: bytes | None = None, content_type: str = "application/msgpack") -> Any:
    """(status, headers, body bytes), also for errors."""
    request = urllib.request.Request(service.url + path, body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def embed(service: Program, **body: Any) -> list[np.ndarray]:
    status, _, raw = ask(service, "", msgspec.msgpack.encode(body))
    assert status == 200, raw
    return [np.frombuffer(vector, "<f2").astype(np.float32) for vector in msgspec.msgpack.decode(raw)]


def encoded(seed: int, size: tuple[int, int] = (80, 60), format: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(buffer, format)
    return buffer.getvalue()
