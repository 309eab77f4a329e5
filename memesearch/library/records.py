"""What the store holds, as the rest of the program sees it."""

import msgspec


class FileStat(msgspec.Struct, frozen=True):
    """What a scan sees of a file; two equal ones are taken for the same bytes."""

    path: str
    mtime_ns: int
    size: int


class Failure(msgspec.Struct, frozen=True):
    """Why a file could not be indexed.

    Attributes:
        lasting: the file itself is at fault, so that it is not tried again until it changes.
        model: the number of the model that refused it; others may take it.
    """

    file: FileStat
    reason: str
    lasting: bool = True
    model: int | None = None


class Content(msgspec.Struct, frozen=True):
    """What is known of a picture's bytes once decoded."""

    hash: bytes
    kind: str
    width: int
    height: int
    frames: int
    colour: str | None = None
    taken_at: str | None = None
    place: str | None = None


class Hit(msgspec.Struct, frozen=True):
    """A searchable picture with all its files, the first by name first."""

    content_id: int
    hash: bytes
    files: list[str]
    width: int
    height: int
    colour: str | None
    text: str | None
