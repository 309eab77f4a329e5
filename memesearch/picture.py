"""Opening untrusted pictures with Pillow, and fitting them to a model's input. No torch here.

Used by the embedding service (pictures in requests) and by the library's decoding workers.
"""

import fcntl
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pillow_heif
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from memesearch.errors import UnreadablePicture
from memesearch.resize import resize
from memesearch.wire import Interpolation, ResizeMode

MAX_PIXELS = 120_000_000  # 360 MB as RGB; the largest phone cameras make 200 MP only in a special mode
LARGE_PIXELS = 30_000_000
MAX_FRAMES = 4
DRAFT = 5
INTERPOLATIONS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "random": Image.Resampling.BICUBIC,
}

# Not all that Pillow knows: some formats start other programs (EPS starts Ghostscript).
FORMATS = (
    *("JPEG", "PNG", "GIF", "WEBP", "AVIF", "HEIF", "BMP", "DIB", "TIFF", "ICO", "TGA", "JPEG2000"),
    *("PPM", "QOI", "PCX", "ICNS", "DDS"),
)
JPEG_XL = (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n")  # a bare codestream, and a container
Image.MAX_IMAGE_PIXELS = None  # `check_size` below replaces Pillow's own limit, which only warns at first
ImageFile.LOAD_TRUNCATED_IMAGES = False
pillow_heif.register_heif_opener()


class Preprocessing(msgspec.Struct, frozen=True):
    """How a model wants its pictures: size in pixels, and how to get there (OpenCLIP's terms)."""

    width: int
    height: int
    resize_mode: ResizeMode = "shortest"
    interpolation: Interpolation = "bicubic"
    fill_color: int = 0


def open_picture(source: bytes | Path) -> Image.Image:
    """Open without decoding the pixels yet. Raises UnreadablePicture with the reason."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise UnreadablePicture(unknown_format(source)) from error
    except Exception as error:  # decoders raise whatever they like on hostile input
        raise UnreadablePicture(f"cannot be opened: {error}") from error
    check_size(image.size)
    return image


def unknown_format(source: bytes | Path) -> str:
    if isinstance(source, Path):
        with source.open("rb") as file:
            source = file.read(12)
    if source.startswith(JPEG_XL):
        return "is JPEG XL, which cannot be read yet"
    return "is not a picture in a known format"


def check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UnreadablePicture("has no pixels")
    if width * height > MAX_PIXELS:
        raise UnreadablePicture(f"claims {width}x{height} pixels, more than the limit of {MAX_PIXELS:,}")


def draft(image: Image.Image, want: Preprocessing) -> None:
    """Let a JPEG that is much larger than needed be decoded at 1/2, 1/4 or 1/8 of its size.

    The decoder's scaling is not the model's: from five times the model's size on, vectors keep a cosine
    above 0.999 with those of the full picture; at twice the size the worst fall to 0.98.
    """
    image.draft("RGB", (DRAFT * want.width, DRAFT * want.height))


def orientation(image: Image.Image) -> object:
    """EXIF's, 1 to 8 or whatever the file has there; 1 where nothing is said: upright."""
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def to_rgb(image: Image.Image, convert: Callable[[Image.Image], Image.Image] | None = None) -> Image.Image:
    """Decode, apply the EXIF orientation, and flatten to RGB on white; `image` itself where nothing is to be done.

    Args:
        convert: applied to the upright picture before it is flattened, for example to change its colour space.
    Raises:
        UnreadablePicture.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.load()
            upright = image if orientation(image) == 1 else ImageOps.exif_transpose(image)  # which copies in any case
            return flatten(convert(upright) if convert else upright)
    except MemoryError as error:
        raise UnreadablePicture("needs more memory than a decoding worker may use") from error
    except Exception as error:  # decoders raise whatever they like on hostile input
        raise UnreadablePicture(f"cannot be decoded: {error}") from error


@contextmanager
def one_at_a_time_if_large(image: Image.Image, purpose: str) -> Iterator[None]:
    """Wait until no other process of this user has a large picture for this purpose: each may need gigabytes."""
    if image.width * image.height < LARGE_PIXELS:
        yield
        return
    name = os.path.join(tempfile.gettempdir(), f"memesearch-{os.getuid()}-{purpose}.lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:  # no such folder, or somebody else made the file: memory is then bounded by each worker's limit
        yield
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # ends with the file, also when the process is killed
        yield
    finally:
        os.close(lock)


def flatten(image: Image.Image) -> Image.Image:
    """RGB of any mode: 16-bit and float are scaled down, transparency is laid on white."""
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image, dtype=np.float32)
        top = 65535.0 if image.mode != "F" or values.max(initial=0) > 1 else 1.0
        return Image.fromarray((np.clip(values / top, 0, 1) * 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        straight = image if image.mode in ("RGBA", "LA") else image.convert("RGBA")
        colours, opacity = straight.convert("RGB"), straight.getchannel("A")
        del straight  # four bytes a pixel, of pictures that may be very large
        background = Image.new("RGB", colours.size, "white")
        background.paste(colours, mask=opacity)
        return background
    return image if image.mode == "RGB" else image.convert("RGB")


def fit(image: Image.Image, want: Preprocessing) -> Image.Image:
    """Resize an RGB picture as OpenCLIP's evaluation transform does for this model; of `resize`'s exactness.

    Follows `open_clip.transform.image_transform`: `shortest` (resize the shorter side, centre crop),
    `squash` (ignore the aspect), `longest` (resize the longer side, pad with `fill_color`).
    """
    target = (want.width, want.height)
    if image.size == target:
        return image
    resample = INTERPOLATIONS[want.interpolation]
    if want.resize_mode == "squash":
        return resize(image, target, resample)
    if want.resize_mode == "longest":
        ratio = max(image.height / want.height, image.width / want.width)
        scaled = resize(image, (max(1, round(image.width / ratio)), max(1, round(image.height / ratio))), resample)
        return pad(scaled, target, want.fill_color)
    short = min(image.size)
    edge = min(target)
    if want.width == want.height:
        width, height = (edge if side == short else int(edge * side / short) for side in image.size)
    else:
        ratio = min(image.height / want.height, image.width / want.width)
        width, height = round(image.width / ratio), round(image.height / ratio)
    left, top = offset(width, want.width), offset(height, want.height)
    return resize(image, (width, height), resample, (left, top, left + want.width, top + want.height))


def pad(image: Image.Image, target: tuple[int, int], fill: int) -> Image.Image:
    """Put into the centre of `target` (width, height), which is no smaller."""
    canvas = Image.new("RGB", target, (fill, fill, fill))
    canvas.paste(image, (-offset(image.width, target[0]), -offset(image.height, target[1])))
    return canvas


def offset(size: int, wanted: int) -> int:
    """Where the crop begins; negative where padding is needed. Rounds as OpenCLIP's transforms do."""
    return round((size - wanted) / 2) if size >= wanted else -((wanted - size) // 2)


def frame_numbers(count: int) -> list[int]:
    """Up to `MAX_FRAMES` frame numbers spread evenly over an animation of `count` frames, the first included."""
    wanted = min(count, MAX_FRAMES)
    return [round(i * (count - 1) / max(1, wanted - 1)) for i in range(wanted)]


def pixels(raw: bytes, want: Preprocessing) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    """One encoded picture (its first frame) to uint8 [height, width, 3]. Raises UnreadablePicture."""
    image = open_picture(raw)
    draft(image, want)
    with one_at_a_time_if_large(image, "decoding"):
        return np.asarray(fit(to_rgb(image), want), dtype=np.uint8)
