"""One picture to its thumbnails, in memory, with Pillow."""

import io
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

from memesearch import picture
from memesearch.resize import resize
from memesearch.thumbs.formats import Format

AVIF_SPEED = 6  # of 10; docs/benchmarks.md has the price and the quality
AVIF_TUNING = {"tune": "ssim"}  # what the benchmark measures; libavif's own choice is "iq"
SHOWN_BY_BROWSERS = {"JPEG", "MPO", "PNG", "GIF", "WEBP", "AVIF"}
SRGB = ImageCms.createProfile("sRGB")
DRAFT = 2  # a JPEG is decoded at a fraction of its size if that is still so many times as wide as needed
LEAST_QUALITY = 5
SAME_COLOUR = 2  # steps of 255: what rounding makes of sRGB's own profiles


class Source:
    """A decoded picture: RGB in sRGB, upright, transparency laid on white, the first frame of an animation."""

    def __init__(self, raw: bytes, kinds: Sequence[Format]) -> None:
        """`kinds`: which thumbnails will be asked for. Raises UnreadablePicture."""
        image = picture.open_picture(raw)
        self.shown_by_browsers = image.format in SHOWN_BY_BROWSERS
        if all(kind.box for kind in kinds):
            widest = max((kind.box[0] for kind in kinds if kind.box), default=1)
            image.draft("RGB", (DRAFT * widest, DRAFT * widest))
        rgb = picture.to_rgb(image, in_srgb)
        self._image = rgb.copy() if rgb is image else rgb  # an opened file of several frames would be saved as such
        self._bytes = len(raw)
        self._fitted: dict[tuple[int, int], Image.Image] = {}

    def thumbnail(self, kind: Format) -> bytes | None:
        """The file of one thumbnail; None where the picture itself is smaller and browsers show it."""
        image = self._image if kind.box is None else self._fit(kind.box)
        encoded = encode(image, kind, kind.quality)
        if kind.most_bytes is not None and len(encoded) > kind.most_bytes:
            encoded = largest_within(image, kind, kind.most_bytes)
        return None if self.shown_by_browsers and len(encoded) > self._bytes else encoded

    def _fit(self, box: tuple[int, int]) -> Image.Image:
        width, height = self._image.size
        scale = min(1.0, box[0] / width, box[1] / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if size not in self._fitted:
            self._fitted[size] = resize(self._image, size, Image.Resampling.LANCZOS)
        return self._fitted[size]


def encode(image: Image.Image, kind: Format, quality: int) -> bytes:
    """Raises OSError, ValueError or MemoryError when the format cannot hold the picture."""
    buffer = io.BytesIO()
    if kind.extension == "jpg":
        image.save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    elif kind.extension == "webp":
        image.save(buffer, "WEBP", quality=quality, method=4)
    else:
        image.save(
            buffer, "AVIF", quality=quality, speed=AVIF_SPEED, max_threads=1, autotiling=False, advanced=AVIF_TUNING
        )
    return buffer.getvalue()


def largest_within(image: Image.Image, kind: Format, most_bytes: int) -> bytes:
    """The best quality below the format's own whose file is small enough, by bisection; the least if none is."""
    low, high = LEAST_QUALITY, kind.quality
    best = encode(image, kind, low)
    while high - low > 1:
        middle = (low + high) // 2
        encoded = encode(image, kind, middle)
        if len(encoded) <= most_bytes:
            low, best = middle, encoded
        else:
            high = middle
    return best


def in_srgb(image: Image.Image) -> Image.Image:
    """The same colours as sRGB numbers; the picture as it is when it has no profile or a broken one."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    if "transparency" in image.info or image.mode == "PA":  # which a conversion would forget
        image = image.convert("RGBA")
    elif image.mode == "P":
        image = image.convert("RGB")
    try:
        if image.mode in ("RGB", "RGBA") and is_srgb(profile):
            return image
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        converted = ImageCms.profileToProfile(image, source, SRGB, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image
    return converted if converted is not None else image


@lru_cache(maxsize=64)
def is_srgb(profile: bytes) -> bool:
    """Whether a profile leaves numbers as they are; its name proves nothing, so some colours are tried."""
    levels = np.linspace(0, 255, 16).astype(np.uint8)
    grey = np.repeat(levels[:, None], 3, axis=1)
    primaries = np.concatenate([levels[:, None] * np.eye(3, dtype=np.uint8)[i] for i in range(3)])
    probe = Image.fromarray(np.concatenate([grey, primaries])[None])
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(probe, source, SRGB, outputMode="RGB")
    difference = np.asarray(converted, np.int16) - np.asarray(probe, np.int16)
    return bool(np.abs(difference).max() <= SAME_COLOUR)
