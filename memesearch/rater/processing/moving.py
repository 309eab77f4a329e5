"""Moving one picture to another folder so that nothing is ever overwritten and a crash leaves nothing half.

The new name is noted before it is taken. So whoever goes on after a crash finds the same bytes at the noted name,
and knows that they are the picture's own.
"""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from memesearch.durable import synchronise
from memesearch.errors import MemeSearchError
from memesearch.library.ingest import hash_file
from memesearch.rater.processing.names import lies_inside, numbered

MAX_COLLISIONS = 99_999
NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
REASONS = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the quota of the disk is used up; make room",
    errno.EACCES: "it may not be written to; change its permissions",
    errno.EPERM: "it may not be written to; change its permissions",
    errno.EROFS: "its disk is read-only",
    errno.ENOENT: "it is not there; is its disk connected?",
}


class CannotMove(MemeSearchError):
    """The file could not be moved now; it lies where it was, and moving can be tried again."""

    status = 507


class Gone(MemeSearchError):
    """What was to be moved is not there any more, or is not the same any more."""

    status = 409


def digest_of(path: Path) -> bytes | None:
    """BLAKE2b-128 of the bytes of a plain file; None when there is none, or it is a link or too large.

    Raises OSError when it cannot be read.
    """
    try:
        return hash_file(path) if stat.S_ISREG(path.lstat().st_mode) else None
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: a NUL in the name
        return None


def move(source: Path, root: Path, wanted: str, digest: bytes, note: Callable[[str], None]) -> str:
    """Bring the file `source` to `root / wanted`, or a numbered name beside it.

    Args:
        digest: of the bytes that must be at `source`.
        note: stores a name for good; called before another name than `wanted`, itself noted already, is taken.
    Returns:
        Where it lies now, relative to `root`.
    Raises:
        Gone: `source` is missing or holds other bytes, and the picture does not lie at `wanted` either.
        CannotMove: the reason, and that nothing was changed.
    """
    try:
        if not root.is_dir():
            raise FileNotFoundError(errno.ENOENT, "no such folder")
        return take_name(source, root, wanted, digest, note)
    except OSError as error:
        reason = REASONS.get(error.errno or 0, str(error.strerror or error))
        raise CannotMove(f"the picture could not be moved to {root}: {reason}") from error


def take_name(source: Path, root: Path, wanted: str, digest: bytes, note: Callable[[str], None]) -> str:
    """`move` without the words for what can go wrong. Raises OSError."""
    folder = str(Path(wanted).parent)
    if not lies_inside(root, folder):
        raise CannotMove(f"{folder!r} leads out of {root}; the picture stays where it is")
    there = digest_of(root / wanted) == digest
    if digest_of(source) != digest:
        if there:
            return wanted
        raise Gone(f"{source.name} is not there any more, or was changed meanwhile")
    if there:  # a move that was broken off had come this far
        source.unlink()
        return wanted
    (root / folder).mkdir(parents=True, exist_ok=True)
    drop_claim(root / wanted)
    for number in range(1, MAX_COLLISIONS):
        name = numbered(wanted, number)
        if os.path.lexists(root / name):
            continue
        if number > 1:
            note(name)
        try:
            put(source, root / name, digest)
        except FileExistsError:
            continue
        return name
    raise FileExistsError(errno.EEXIST, f"there are {MAX_COLLISIONS} files of the name {wanted!r} already")


def put(source: Path, target: Path, digest: bytes) -> None:
    """Move to a free name, on this disk or another. Raises FileExistsError when it is not free, and OSError."""
    try:
        link(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy(source, target, digest)
    synchronise(target.parent)
    source.unlink(missing_ok=True)


def copy(source: Path, target: Path, digest: bytes) -> None:
    """Copy across disks; the name is taken when every byte is on the other disk."""
    part = target.parent / f".{digest.hex()}.part"  # what a crash leaves of it is written anew
    part.unlink(missing_ok=True)
    try:
        with source.open("rb") as old, part.open("xb") as new:
            shutil.copyfileobj(old, new, 2**20)
            new.flush()
            os.fsync(new.fileno())
        shutil.copystat(source, part)
        link(part, target)
    finally:
        part.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Give `source` the name `target` unless there is such a name. On disks without hard links it loses its own."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))  # claims the name
        source.replace(target)


def drop_claim(target: Path) -> None:
    """Delete what `link` left when it was broken off: an empty file at a name that was free when it was noted."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        status = target.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            target.unlink()
