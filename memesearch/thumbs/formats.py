"""The formats of thumbnails, and the rule that names their files.

The page has the same rule in clipfront2/src/lib/thumbnails.js; tests/thumbnail_names.json tests both.
"""

import re
from collections.abc import Iterable

import msgspec

from memesearch.errors import ConfigError
from memesearch.library.scan import EXTENSIONS


class Format(msgspec.Struct, frozen=True):
    """One kind of thumbnail.

    Attributes:
        box: the picture is made to fit into this (width, height), never larger than it was; None keeps its size.
        quality: of the encoder, 0 to 100; the highest that is tried where there is a limit of bytes.
        most_bytes: quality is lowered until the file is no larger.
    """

    name: str
    extension: str
    mime: str
    quality: int
    box: tuple[int, int] | None = None
    most_bytes: int | None = None


GRID = "webp-400"
FORMATS = (
    Format(GRID, "webp", "image/webp", 75, (400, 4000)),
    Format("jpeg-800", "jpg", "image/jpeg", 80, (800, 65_000)),
    Format("jpeg-256k", "jpg", "image/jpeg", 95, (600, 600), 256_000),
    Format("jpeg-fullscale", "jpg", "image/jpeg", 80),
    Format("avif-lq", "avif", "image/avif", 30),
    Format("avif-hq", "avif", "image/avif", 80),
)
BY_NAME = {kind.name: kind for kind in FORMATS}
NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}\.[a-z0-9-]+\.[a-z]+")


def thumbnail_id(digest: bytes) -> str:
    """What the names of a picture's thumbnails begin with: made from its bytes, so that a renamed or copied file
    needs no new ones, and no name is ever used for two pictures."""
    hexadecimal = digest.hex()
    return f"{hexadecimal[:2]}/{hexadecimal[2:]}."


def file_name(identifier: str, kind: Format) -> str:
    """The path of one thumbnail below the folder of them all."""
    return f"{identifier}{kind.name}.{kind.extension}"


def chosen(names: Iterable[str], key: str) -> list[Format]:
    """The formats with these names, in the order in which they are made. Raises ConfigError naming `key`."""
    wanted = set(names)
    if unknown := wanted - set(BY_NAME):
        raise ConfigError(
            f"`{key}`: there is no format {sorted(unknown)[0]!r} of thumbnails; known are {', '.join(BY_NAME)}"
        )
    return [kind for kind in FORMATS if kind.name in wanted]


def formats_json() -> bytes:
    """What `gen-formats` writes: the formats, and which files thumbnails are made of."""
    described = {kind.name: [kind.extension, kind.mime] for kind in FORMATS}
    return msgspec.json.format(msgspec.json.encode({"formats": described, "extensions": sorted(EXTENSIONS)}))
