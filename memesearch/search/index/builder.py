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
    """Builds segments, from any thread."""

    def __init__(self) -> None:
        self._processes: set[subprocess.Popen[str]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, job: Job, tell: Tell) -> None:
        """Until the segment is there. Raises OSError when it cannot be made, or `stop` was called."""
        description = Path(job.target + ".job.json")
        try:
            description.write_bytes(msgspec.json.encode(job))
            process = self._start(description)
            try:
                with process:
                    complaint = follow(process.stdout or [], tell)
            finally:
                self._ended(process)
            if process.returncode:
                raise OSError(f"a part of the index cannot be built: {complaint or f'status {process.returncode}'}")
        finally:
            description.unlink(missing_ok=True)

    def _start(self, description: Path) -> "subprocess.Popen[str]":
        with self._lock:
            if self._stopped:
                raise OSError("the index is being closed")
            process = subprocess.Popen(
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
            self._processes.add(process)
            return process

    def _ended(self, process: "subprocess.Popen[str]") -> None:
        with self._lock:
            self._processes.remove(process)

    def stop(self) -> None:
        """End the builds that run, and let no other begin."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                process.kill()


def follow(lines: Iterable[str], tell: Tell) -> str:
    """Until they end: what is progress is told, of the others the last one with words is returned."""
    said = ""
    for line in lines:
        try:
            tell(*msgspec.json.decode(line, type=tuple[int, int]))
        except msgspec.DecodeError:
            said = line.strip() or said
    return said
