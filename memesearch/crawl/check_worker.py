"""Worker process: says what downloaded bytes really are, by decoding them.

Runs as `python -m memesearch.crawl.check_worker`, started by workers.py; a picture that breaks a decoder or fills
the memory takes only this process with it.
"""

import signal

import msgspec

from memesearch import picture
from memesearch.errors import UnreadablePicture
from memesearch.workers import answer_requests

MEMORY_BYTES = 4 * 2**30
SMALL = picture.Preprocessing(32, 32)
EXTENSIONS = {
    "JPEG": "jpg", "MPO": "jpg", "PNG": "png", "GIF": "gif", "WEBP": "webp", "AVIF": "avif", "HEIF": "heic",
    "BMP": "bmp", "TIFF": "tiff",
}  # fmt: skip


class CheckRequest(msgspec.Struct):
    raw: bytes


class Checked(msgspec.Struct):
    """`problem`, or the extension that fits the bytes and the size in pixels."""

    problem: str | None = None
    extension: str = ""
    width: int = 0
    height: int = 0


def check(request: CheckRequest) -> Checked:
    try:
        image = picture.open_picture(request.raw)
        extension = EXTENSIONS.get(image.format or "")
        if extension is None:
            return Checked(f"is a picture in the format {image.format}, which is not collected")
        picture.pixels(request.raw, SMALL)
    except UnreadablePicture as error:
        return Checked(str(error))
    except MemoryError:
        return Checked("needs more memory than a decoding worker may use")
    except Exception as error:  # decoders raise whatever they like on hostile input
        return Checked(f"cannot be decoded: {error}")
    return Checked(None, extension, image.width, image.height)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_requests(check, CheckRequest, niceness=5, memory_bytes=MEMORY_BYTES)
