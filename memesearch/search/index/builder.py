"""Runs build.py in a process beside this one, and ends it when the program ends."""

import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import msgspec

from memesearch.machine import with_all_cores
from memesearch.search.index.build import Job, Tell

ROOT = Path(__file__).resolve().parents[3]


class Builder:
    """Builds one segment at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, job: Job, tell: Tell) -> None:
        """Until the segment is there. Raises OSError when it cannot be made, or `stop` was called."""
        description = Path(job.target + ".job.json")
        try:
            description.write_bytes(msgspec.json.encode(job))
            with self._start(description) as process:
                complaint = follow(process.stdout or [], tell)
            if process.returncode:
                raise OSError(f"a part of the index cannot be built: {complaint or f'status {process.returncode}'}")
        finally:
            self._process = None
            description.unlink(missing_ok=True)

    def _start(self, description: Path) -> "subprocess.Popen[str]":
        with self._lock:
            if self._stopped:
                raise OSError("the index is being closed")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "memesearch.search.index.build", str(description)],
                cwd=ROOT,
                env=with_all_cores(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,  # of two pipes one could fill while the other is read
                text=True,
                errors="replace",
                start_new_session=True,  # a terminal's Ctrl-C is for the program, which ends this one
            )
            return self._process

    def stop(self) -> None:
        """End the build that runs, and let no other begin."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()


def follow(lines: Iterable[str], tell: Tell) -> str:
    """Until they end: what is progress is told, of the others the last one with words is returned."""
    said = ""
    for line in lines:
        try:
            tell(*msgspec.json.decode(line, type=tuple[int, int]))
        except msgspec.DecodeError:
            said = line.strip() or said
    return said
