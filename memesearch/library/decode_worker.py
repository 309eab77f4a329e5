"""Worker process: reads one picture file, says what it is, and makes the model's input of it.

Runs as `python -m memesearch.library.decode_worker`, started by workers.py.
"""

import signal
from pathlib import Path

import msgspec
import numpy as np
from PIL import ExifTags, Image

from memesearch import picture
from memesearch.content_hash import hash_bytes
from memesearch.errors import UnreadablePicture
from memesearch.library.records import Content
from memesearch.picture import Preprocessing
from memesearch.workers import answer_requests

MEMORY_BYTES = 4 * 2**30
MAX_FILE_BYTES = 500 * 2**20
QUARTER_TURNS = (5, 6, 7, 8)  # EXIF orientations; Pillow turns a TIFF, and its size, by itself


class DecodeRequest(msgspec.Struct):
    """`digest`: what the file hashed to when it was listed for decoding."""

    path: str
    digest: bytes
    want: Preprocessing


class Decoded(msgspec.Struct):
    """Either the content and its frames, RGB pixels of the model's size; or `problem`; or, when the file changed or
    vanished meanwhile, nothing: the next scan looks at it again.

    Attributes:
        lasting: the file's bytes are at fault, not this moment.
    """

    problem: str | None = None
    lasting: bool = True
    content: Content | None = None
    frames: list[bytes] = []


def read_unchanged(path: str, digest: bytes) -> bytes | None:
    """A file's bytes; None when it cannot be read any more or holds others than these."""
    try:
        raw = Path(path).read_bytes()
    except OSError:
        return None
    return raw if hash_bytes(raw) == digest else None


def decode(request: DecodeRequest) -> Decoded:
    raw = read_unchanged(request.path, request.digest)
    if raw is None:
        return Decoded()
    try:
        return read_picture(raw, request.digest, request.want)
    except UnreadablePicture as error:
        return Decoded(problem=str(error))
    except MemoryError:
        return Decoded(problem="needs more memory than a decoding worker may use")
    except Exception as error:  # decoders raise whatever they like on hostile input
        return Decoded(problem=f"cannot be decoded: {error}")


def read_picture(raw: bytes, digest: bytes, want: Preprocessing) -> Decoded:
    image = picture.open_picture(raw)
    count = frame_count(image)
    turned = picture.orientation(image) in QUARTER_TURNS and image.format != "TIFF"
    width, height = image.size[::-1] if turned else image.size
    taken_at, place = when_and_where(image)
    frames, colour = [], None
    with picture.one_at_a_time_if_large(image, "decoding"):
        for number in picture.frame_numbers(count):
            frame = read_frame(image, number, want)
            if frame is None:
                break
            fitted = picture.fit(frame, want)
            colour = colour or dominant_colour(fitted)
            frames.append(fitted.tobytes())
    kind = "animation" if count > 1 else "image"
    return Decoded(content=Content(digest, kind, width, height, count, colour, taken_at, place), frames=frames)


def frame_count(image: Image.Image) -> int:
    if image.format == "MPO":  # the further pictures are previews or a second eye
        return 1
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # a damaged animation: its first frame may still be fine
        return 1


def read_frame(image: Image.Image, number: int, want: Preprocessing) -> Image.Image | None:
    """RGB of one frame; None where a later frame of an animation is damaged."""
    try:
        if number:
            image.seek(number)
        else:
            picture.draft(image, want)
        return picture.to_rgb(image)
    except Exception:
        if number == 0:
            raise
        return None


def dominant_colour(frame: Image.Image) -> str:
    """The mean of the fullest of 512 bins of colour, '#rrggbb'."""
    pixels = np.asarray(frame.resize((32, 32), Image.Resampling.BOX)).reshape(-1, 3)
    bins = (pixels >> 5).astype(np.int64) @ (64, 8, 1)
    fullest = np.bincount(bins).argmax()
    red, green, blue = pixels[bins == fullest].mean(axis=0).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def when_and_where(image: Image.Image) -> tuple[str | None, str | None]:
    """The camera's time (ISO 8601, local) and 'latitude,longitude', as far as EXIF has them."""
    try:
        exif = image.getexif()
        raw_time = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
        taken = None
        if isinstance(raw_time, str) and len(raw_time) >= 19 and raw_time[:4].isdigit():
            taken = raw_time[:10].replace(":", "-") + "T" + raw_time[11:19]
        gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
        if 2 not in gps or 4 not in gps:
            return taken, None
        latitude, longitude = (degrees(gps[2]), degrees(gps[4]))
        latitude *= -1 if gps.get(1) == "S" else 1
        longitude *= -1 if gps.get(3) == "W" else 1
        return taken, f"{latitude:.6f},{longitude:.6f}"
    except Exception:  # EXIF blocks are as broken as files get, and only an extra
        return None, None


def degrees(parts: tuple[float, float, float]) -> float:
    return float(parts[0]) + float(parts[1]) / 60 + float(parts[2]) / 3600


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answer_requests(decode, DecodeRequest, niceness=5, memory_bytes=MEMORY_BYTES)
