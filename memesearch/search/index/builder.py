"""Runs build.py in a process beside this one, and ends it when the program ends."""

import subprocess
import sys
import threading
from pathlib import Path

import msgspec

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
            process = self._start(description)
            for line in process.stdout or []:
                tell(*msgspec.json.decode(line, type=tuple[int, int]))
            _, complaint = process.communicate()
            if process.returncode:
                last = complaint.strip().rpartition("\n")[2]
                raise OSError(f"a part of the index cannot be built: {last or f'status {process.returncode}'}")
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
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,  # a terminal's Ctrl-C is for the program, which ends this one
            )
            return self._process

    def stop(self) -> None:
        """End the build that runs, and let no other begin."""
        with self._lock:
            self._stopped = True
            if self._process is not None:
                self._process.kill()
