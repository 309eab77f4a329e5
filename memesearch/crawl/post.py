"""What every source makes of its posts, and the errors of collecting."""

import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from memesearch.errors import MemeSearchError, Unavailable

NAME_LENGTH = 80
PICTURE_URL = re.compile(r"\.(jpe?g|png|gif|webp|avif|heic|bmp|tiff?)$", re.IGNORECASE)
ODD = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError)  # what reading odd answers raises
T = TypeVar("T")


class NotUnderstood(MemeSearchError):
    """A source answers something else than its format."""


class Refused(MemeSearchError):
    """A picture or page that will not be had by asking again: its address, its size or the server's no."""

    def __init__(self, message: str, answered: int = 0) -> None:
        super().__init__(message)
        self.answered = answered


class GivenUp(Unavailable):
    """A server failed too often. `wait`: seconds for which it wants to be left alone."""

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


class CannotStore(Unavailable):
    """This machine's disk or database takes nothing more; the run ends."""


class Post(msgspec.Struct, frozen=True):
    """One post of a source.

    Attributes:
        key: unlike that of any other post of any source.
        name: for its files; any text.
        pictures: addresses of each picture, the best first; the others are tried where it cannot be had.
        created: seconds since 1970.
        adult: flagged by its author or its community.
        deleted: there is nothing to be had any more.
        score: votes, where the source counts them.
    """

    key: str
    name: str
    pictures: tuple[tuple[str, ...], ...]
    title: str = ""
    author: str = ""
    link: str = ""
    created: float | None = None
    adult: bool = False
    deleted: bool = False
    score: int | None = None

    def keys(self) -> list[str]:
        """One per picture; a post without pictures has one too, so that it is not looked at again."""
        return [self.key, *(f"{self.key}#{number}" for number in range(2, len(self.pictures) + 1))]


class Page(msgspec.Struct, frozen=True):
    """Posts, where the listing goes on (None: nowhere), and how many entries could not be understood."""

    posts: list[Post]
    next: str | None = None
    malformed: int = 0


def safe_name(name: str) -> str:
    """A file name without extension: all but letters, digits and `_-.` is replaced; a hash keeps it unique."""
    safe = re.sub(r"[^A-Za-z0-9_.-]|^\.", "_", name)[:NAME_LENGTH]
    if safe == name and safe:
        return safe
    return f"{safe}_{hashlib.blake2b(name.encode('utf-8', 'replace'), digest_size=6).hexdigest()}"


def each(items: Iterable[T], parse: Callable[[T], Post | None]) -> tuple[list[Post], int]:
    """Posts of a listing's entries, and how many entries could not be understood. None: not a post."""
    posts, malformed = [], 0
    for item in items:
        try:
            post = parse(item)
        except ODD:
            malformed += 1
            continue
        if post is not None:
            posts.append(post)
    return posts, malformed


def seconds(text: str) -> float:
    """ISO 8601 to seconds since 1970; without a zone it is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def text_of(value: Any) -> str:
    """A text, or nothing: titles and names are extras, and sources leave them out."""
    return value if isinstance(value, str) else ""


def whole(value: Any) -> int | None:
    """A whole number that JSON can hold anywhere, or nothing."""
    return value if isinstance(value, int) and abs(value) < 2**53 else None


def need_text(value: Any) -> str:
    """A text that must be there. Raises ValueError."""
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing")
    return value


def need_list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise NotUnderstood(f"answers something else than {what}")
    return value
