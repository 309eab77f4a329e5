"""Locks that keep a second process away from what only one may do."""

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Self


class Taken(Exception):
    """Another process has the lock. The text says which: "process 12, since …" or, unknown, "another process"."""


class FileLock:
    """A lock on a file beside what it guards: held from the start until it is closed or the process ends, in any way.

    The file stays when the lock ends: if it were deleted, two processes could each hold a file of that name.
    """

    def __init__(self, path: Path) -> None:
        """Make the file where it is missing, and its folder. Raises Taken; OSError when it cannot be made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 200, 0).decode("utf-8", "replace").strip()
            self.close()
            raise Taken(holder or "another process") from error
        except OSError:
            self.close()
            raise
        holder = f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with contextlib.suppress(OSError):  # a full disk: then only the sentence that says who has it knows less
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, holder.encode(), 0)

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
