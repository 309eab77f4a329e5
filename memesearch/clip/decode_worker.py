"""Worker process of the embedding service: one encoded picture in, the model's input out.

Runs as `python -m memesearch.clip.decode_worker`, started by workers.py.
"""

import signal

import msgspec

from memesearch import picture
from memesearch.errors import UnreadablePicture
from memesearch.picture import Preprocessing
from memesearch.workers import answer_requests

MEMORY_BYTES = 4 * 2**30


class DecodeRequest(msgspec.Struct):
    raw: bytes
    want: Preprocessing


class Decoded(msgspec.Struct):
    """Either `problem`, or uint8 [height, width, 3] as bytes."""

    problem: str | None = None
    pixels: bytes = b""


def decode(request: DecodeRequest) -> Decoded:
    try:
        return Decoded(pixels=picture.pixels(request.raw, request.want).tobytes())
    except UnreadablePicture as error:
        return Decoded(problem=str(error))
    except MemoryError:
        return Decoded(problem="needs more memory than a decoding worker may use")
    except Exception as error:  # decoders raise whatever they like on hostile input
        return Decoded(problem=f"cannot be decoded: {error}")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_requests(decode, DecodeRequest, niceness=5, memory_bytes=MEMORY_BYTES)
