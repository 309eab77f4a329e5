"""Running other programs as steps of one, one run at a time."""

import asyncio
import contextlib
import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from memesearch.errors import ConfigError, Unavailable
from memesearch.machine import end_with_parent

STOP_SECONDS = 30.0  # that a step has to end by itself after SIGTERM


class Busy(Unavailable):
    """Another run is under way."""


@contextlib.contextmanager
def one_at_a_time(lock: Path) -> Iterator[None]:
    """Keep other runs away; the lock ends with the process, however that ends. Raises Busy, ConfigError."""
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigError(f"{lock}: cannot be made: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace").strip() or "another process"
            raise Busy(f"a run is under way already ({holder}); wait for its end") from error
        with contextlib.suppress(OSError):  # a full disk: then only the sentence above knows less
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {os.getpid()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}".encode(), 0)
        yield
    finally:
        os.close(handle)


async def run_step(program: Path, *arguments: str) -> int:
    """Run a Python program to its end, with its output on our stderr; returns its exit status.

    Who is cancelled stops the program first: SIGTERM, and SIGKILL when it has not ended after `STOP_SECONDS`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(program),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=end_with_parent,  # so that no step goes on unwatched
    )
    try:
        return await process.wait()
    finally:
        if process.returncode is None:
            await end(process)


async def end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
