"""What the store holds, as the rest of the program sees it."""

import re
from datetime import date
from pathlib import PurePosixPath

import msgspec

KINDS = ("image", "animation")


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


class Filter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which pictures a search may find; all that is given has to hold, and what is empty is not given.

    `ValueError` is raised of what means nothing.

    Attributes:
        folder: below the library's root, with its subfolders; without superfluous `/` and `.`.
        kind: image or animation.
        after, before: of the day a picture was taken, or its file was changed: `2023`, `2023-05` or `2023-05-31`;
            `after` includes that time, `before` does not.
    """

    folder: str | None = None
    kind: str | None = None
    after: str | None = None
    before: str | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:  # equal filters have to look alike
            value = getattr(self, name)
            msgspec.structs.force_setattr(self, name, (below_root(value) if name == "folder" else value) or None)
        if self.kind is not None and self.kind not in KINDS:
            raise ValueError(f"`kind` is image or animation, not {self.kind!r}")
        check_day("after", self.after)
        check_day("before", self.before)


def below_root(folder: str | None) -> str:
    """A folder as the paths of files begin with it; empty for the root. Raises ValueError of one that leaves it."""
    parts = PurePosixPath((folder or "").strip("/")).parts
    if ".." in parts:
        raise ValueError("`folder` is a path below the library's folder, without `..`")
    return "/".join(parts)


def check_day(name: str, day: str | None) -> None:
    """Raise ValueError unless it is a year, a month or a day."""
    try:
        if day is not None and not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){0,2}", day):
            raise ValueError("of another shape")
        date.fromisoformat(f"{day or '2000'}-01-01"[:10])
    except ValueError as error:
        raise ValueError(f"`{name}`: {day!r} is no day; write 2023, 2023-05 or 2023-05-31") from error


class Position(msgspec.Struct, frozen=True):
    """A point of a database's history: the changes up to `seq`, of which the last came under `opening` or before."""

    opening: str
    seq: int
