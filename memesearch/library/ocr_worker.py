"""Worker process: reads the text in one picture with RapidOCR, whose models come in its package.

Runs as `python -m memesearch.library.ocr_worker`, started by workers.py, at the lowest priority.
"""

import logging
import signal
from functools import cache
from typing import Any

import msgspec
import numpy as np

from memesearch import picture
from memesearch.errors import UnreadablePicture
from memesearch.library.decode_worker import read_unchanged
from memesearch.workers import answer_requests

MEMORY_BYTES = 6 * 2**30
LARGEST_SIDE = 1600  # pixels; smaller text than this leaves is not legible on a page either
LEAST_CONFIDENCE = 0.6


class ReadRequest(msgspec.Struct):
    """A file and the hash that its bytes must have; without a path, whether reading works at all is tried."""

    path: str = ""
    digest: bytes = b""


class ReadText(msgspec.Struct):
    """None when the file is not there any more or holds other bytes: nothing is known of its text."""

    text: str | None


@cache
def engine() -> Any:
    from rapidocr import RapidOCR

    logging.getLogger("RapidOCR").setLevel(logging.ERROR)
    return RapidOCR(params={"Global.log_level": "error", "EngineConfig.onnxruntime.intra_op_num_threads": 1})


def read_text(request: ReadRequest) -> ReadText:
    """The lines found, top to bottom, one a line; empty for a picture without text."""
    if not request.path:
        engine()(np.zeros((64, 64, 3), np.uint8))
        return ReadText("")
    raw = read_unchanged(request.path, request.digest)
    if raw is None:
        return ReadText(None)
    try:
        image = picture.to_rgb(picture.open_picture(raw))
    except UnreadablePicture:
        return ReadText("")
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    if min(image.size) < 8:
        return ReadText("")
    result = engine()(np.asarray(image)[:, :, ::-1])
    lines = zip(result.txts or (), result.scores or (), strict=True)
    return ReadText("\n".join(text for text, score in lines if score >= LEAST_CONFIDENCE))


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_requests(read_text, ReadRequest, niceness=19, memory_bytes=MEMORY_BYTES)
