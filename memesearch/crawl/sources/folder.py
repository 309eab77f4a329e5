"""A local folder: its pictures are taken as posts. Links are not followed."""

import asyncio
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from memesearch.crawl.config import FolderConfig
from memesearch.crawl.post import PICTURE_URL, GivenUp, Page, Post, Refused

PAGE = 500


class Folder:
    """The cursor is the path of the last file looked at; a file that is changed is another post."""

    newest_first = False

    def __init__(self, config: FolderConfig, max_bytes: int) -> None:
        self.name = config.name
        self._root = config.path
        self._max_bytes = max_bytes
        self._files: list[str] | None = None

    async def page(self, cursor: str | None) -> Page:
        if self._files is None:
            self._files = await asyncio.to_thread(lambda: sorted(walk(self._root)))
        files = [name for name in self._files if cursor is None or name > cursor][: PAGE + 1]
        posts = [post for name in files[:PAGE] if (post := self._post(name)) is not None]
        return Page(posts, files[PAGE - 1] if len(files) > PAGE else None)

    def _post(self, name: str) -> Post | None:
        path = os.path.join(self._root, name)
        try:
            status = os.lstat(path)
        except OSError:  # gone meanwhile
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        text = os.fsencode(name)
        what = hashlib.blake2b(b"%s\0%d\0%d" % (text, status.st_mtime_ns, status.st_size), digest_size=8).hexdigest()
        readable = text.decode("utf-8", "replace")
        return Post(
            key=f"{self.name}#{what}",
            name=f"folder_{what}",
            pictures=((path,),),
            title=os.path.splitext(os.path.basename(readable))[0],
            link=readable,
            created=status.st_mtime,
        )

    async def read(self, picture: str) -> bytes:
        return await asyncio.to_thread(self._read, picture)

    def _read(self, picture: str) -> bytes:
        try:
            descriptor = os.open(picture, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                raw = file.read(self._max_bytes + 1)
        except OSError as error:
            raise GivenUp(f"{picture!r} cannot be read: {error.strerror}") from error
        if len(raw) > self._max_bytes:
            raise Refused(f"is larger than {self._max_bytes:,} bytes")
        return raw


def walk(root: str) -> Iterator[str]:
    """Paths of pictures relative to `root`, by their extension; hidden ones are left out. Raises GivenUp."""

    def complain(error: OSError) -> None:
        if error.filename == root:
            raise GivenUp(f"{root} cannot be read: {error.strerror}")

    for folder, folders, files in os.walk(root, onerror=complain):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and PICTURE_URL.search(name):
                yield os.path.relpath(os.path.join(folder, name), root)


def holds(outer: Path, inner: Path) -> bool:
    """Whether a folder is another or contains it, links resolved."""
    outer, inner = Path(os.path.realpath(outer)), Path(os.path.realpath(inner))
    return outer == inner or outer in inner.parents
