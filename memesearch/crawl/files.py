"""Files of a collection: `images/XX/NAME.EXT` with `meta/XX/NAME.json`, XX of the MD5 of the post's name."""

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from memesearch.content_hash import hash_bytes
from memesearch.crawl.check_worker import Checked
from memesearch.crawl.post import CannotStore, Post, safe_name
from memesearch.durable import synchronise, write_whole
from memesearch.errors import Unavailable
from memesearch.file_lock import FileLock, Taken

PART = ".crawl-part"


class Meta(msgspec.Struct):
    """What is known of a picture, beside it. `picture`: which of the post's pictures, from 1. `url`: where it was."""

    key: str
    source: str
    title: str
    author: str
    link: str
    created: float | None
    adult: bool
    score: int | None
    picture: int
    pictures: int
    url: str
    file: str
    width: int
    height: int
    bytes: int
    hash: str
    crawled: float


class Keyed(msgspec.Struct):
    key: str


class Places:
    """The two folders of a collection."""

    def __init__(self, pictures: Path, meta: Path) -> None:
        self.pictures, self.meta = pictures, meta

    def tidy(self) -> None:
        """Make the folders and delete what a killed run left half written. Raises CannotStore."""
        for root in (self.pictures, self.meta):
            with cannot_store(root):
                root.mkdir(parents=True, exist_ok=True)
                for shard in range(256):
                    for part in (root / f"{shard:02x}").glob(f".*{PART}"):
                        part.unlink()

    def put(self, post: Post, number: int, raw: bytes, checked: Checked, meta: Meta) -> str:
        """Write the description, then the picture; returns the picture's path relative to its folder.

        Raises CannotStore; then neither is there.
        """
        stem = file_stem(post, number)
        if key_at(self.meta / f"{stem}.json") not in (None, post.key):
            stem += "~" + hash_bytes(post.key.encode("utf-8", "replace")).hex()
        meta.file = f"{stem}.{checked.extension}"
        described, target = self.meta / f"{stem}.json", self.pictures / meta.file
        write(described, msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n")
        try:
            write(target, raw)
        except CannotStore:
            described.unlink(missing_ok=True)
            raise
        return meta.file


def file_stem(post: Post, number: int) -> str:
    """`XX/NAME` of a post's picture; those after the first end with their number."""
    shard = hashlib.md5(post.name.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:2]
    return f"{shard}/{safe_name(post.name)}" + (f"~{number}" if number > 1 else "")


def key_at(path: Path) -> str | None:
    """The key of the post that a file of metadata describes; None where there is none, or half of one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Keyed).key.partition("#")[0]
    except (OSError, msgspec.DecodeError):
        return None


def write(target: Path, raw: bytes) -> None:
    """All of a file or nothing, and on the disk when this returns. Raises CannotStore."""
    part = target.with_name(f".{target.name}{PART}")
    with cannot_store(target):
        target.parent.mkdir(exist_ok=True)
        write_whole(target, raw, part)
        synchronise(target.parent)


@contextlib.contextmanager
def cannot_store(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotStore(
            f"{target} cannot be written: {error.strerror}; mend that, and the next run goes on where this stopped"
        ) from error


def locked(path: Path) -> FileLock:
    """One crawl at a time. Raises Unavailable, CannotStore."""
    try:
        with cannot_store(path):
            return FileLock(path)
    except Taken as error:
        raise Unavailable(f"another crawl of this collection is running ({error}); wait until it ends") from error
