"""What is on disk, and how it differs from what is known. `difference` is pure."""

import os
import stat
from pathlib import Path

import msgspec

from memesearch.errors import Unavailable
from memesearch.library.records import FileStat

EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".webp", ".avif", ".heic", ".heif"}
    | {".bmp", ".tif", ".tiff", ".ico", ".tga", ".jxl", ".jp2"}
)
LATEST = 2**63 - 1  # ns since 1970, in the year 2262: SQLite takes no larger number
CACHE_TAG_NAME = "CACHEDIR.TAG"  # https://bford.info/cachedir/: what is in such a folder can be made anew
CACHE_TAG = "Signature: 8a477f597d28d172789f06886806bc55"


class Scan(msgspec.Struct):
    """Pictures found, and entries that look like pictures but cannot be taken, with reasons."""

    files: dict[str, FileStat]
    refused: dict[str, str]


class Difference(msgspec.Struct):
    """What to do so that the database matches the disk."""

    changed: list[FileStat]
    gone: list[str]


def scan(root: Path) -> Scan:
    """Walk `root`, the newest pictures first.

    Hidden files and folders (`.name`) are left out, and folders that a CACHEDIR.TAG marks as a cache: thumbnails.

    Links to files inside `root` are followed; links to folders are not (what they show inside `root`
    is found anyway), and whatever leads out of `root` is refused.

    Raises:
        Unavailable: `root` is missing or cannot be listed; nothing may be concluded from that.
    """
    found = Scan({}, {})
    real_root = os.path.realpath(root)
    try:
        os.listdir(root)
    except OSError as error:
        raise Unavailable(f"the folder {root} cannot be read: {error.strerror}") from error
    folders = [""]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(root / folder) as entries:
                if folder and is_cache(root / folder):
                    continue
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    if entry.name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    else:
                        look_at(entry, path, real_root, found)
        except OSError as error:
            found.refused[printable(folder)] = f"the folder cannot be read: {error.strerror}"
    newest_first = sorted(found.files.values(), key=lambda file: -file.mtime_ns)
    found.files = {file.path: file for file in newest_first}
    return found


def is_cache(folder: Path) -> bool:
    """Whether the folder holds a CACHEDIR.TAG with the right signature."""
    try:
        with (folder / CACHE_TAG_NAME).open("rb") as tag:
            return tag.read(len(CACHE_TAG)) == CACHE_TAG.encode()
    except OSError:
        return False


def look_at(entry: "os.DirEntry[str]", path: str, real_root: str, found: Scan) -> None:
    """File one directory entry under found or refused, or leave it out."""
    is_picture = os.path.splitext(entry.name)[1].lower() in EXTENSIONS
    if entry.is_symlink():
        target = os.path.realpath(entry.path)
        if os.path.commonpath([target, real_root]) != real_root:
            if is_picture or os.path.isdir(target):
                found.refused[printable(path)] = "is a link that leads out of the library's folder"
            return
        if os.path.isdir(target):
            return
    if not is_picture:
        return
    if printable(path) != path:
        found.refused[printable(path)] = "has a name that is not valid UTF-8; rename it"
        return
    try:
        info = entry.stat()
    except OSError as error:
        found.refused[path] = f"cannot be looked at: {error.strerror}"
        return
    if stat.S_ISREG(info.st_mode):
        found.files[path] = FileStat(path, max(-LATEST, min(info.st_mtime_ns, LATEST)), info.st_size)


def printable(path: str) -> str:
    """The path with bytes that are not UTF-8 shown as `\\xNN`; equal to `path` when there are none."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def difference(on_disk: dict[str, FileStat], known: dict[str, FileStat]) -> Difference:
    """Files that are new or look changed, in the order of `on_disk`, and paths that are no more."""
    return Difference(
        changed=[file for path, file in on_disk.items() if known.get(path) != file],
        gone=[path for path in known if path not in on_disk],
    )
