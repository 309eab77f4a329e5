"""Running other programs as steps of one, one run at a time."""

import asyncio
import contextlib
import sys
from pathlib import Path

from memesearch.errors import ConfigError, Unavailable
from memesearch.file_lock import FileLock, Taken
from memesearch.machine import end_with_parent

STOP_SECONDS = 30.0  # that a step has to end by itself after SIGTERM


def one_at_a_time(lock: Path) -> FileLock:
    """Keep other runs away. Raises Unavailable while there is one, ConfigError when the lock cannot be made."""
    try:
        return FileLock(lock)
    except Taken as error:
        raise Unavailable(f"a run is under way already ({error}); wait for its end") from error
    except OSError as error:
        raise ConfigError(f"{lock}: cannot be made: {error.strerror}") from error


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
