"""Files that are whole or not there, and on the disk when they are said to be."""

import contextlib
import os
from pathlib import Path


def synchronise(*paths: Path) -> None:
    """Until the disk has these files, or the names in these folders. Raises OSError."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_whole(path: Path, raw: bytes, part: Path, mode: int | None = None) -> None:
    """Put `raw` in the place of `path`: all of it, or what was there before stays.

    `part` is its name until it is whole, in the same folder; `mode` its permissions. Raises OSError.
    """
    try:
        part.write_bytes(raw)
        synchronise(part)
        if mode is not None:
            part.chmod(mode)
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
