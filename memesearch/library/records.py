"""What the store holds, as the rest of the program sees it."""

from datetime import date
from typing import Annotated, Literal

import msgspec

Day = Annotated[str, msgspec.Meta(pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")]


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
    """Which pictures a search may find; all that is given has to hold.

    Attributes:
        folder: below the library's root, with its subfolders.
        kind: image or animation.
        after, before: of the day a picture was taken, or its file was changed: `2023`, `2023-05` or `2023-05-31`;
            `after` includes that time, `before` does not.
    """

    folder: str | None = None
    kind: Literal["image", "animation"] | None = None
    after: Day | None = None
    before: Day | None = None

    def __post_init__(self) -> None:
        for name, day in (("after", self.after), ("before", self.before)):
            try:
                date.fromisoformat(f"{day or '2000'}-01-01"[:10])
            except ValueError as error:
                raise ValueError(f"`{name}`: there is no day {day}") from error


class Position(msgspec.Struct, frozen=True):
    """A point of a database's history: the changes up to `seq`, of which the last came under `opening` or before."""

    opening: str
    seq: int
