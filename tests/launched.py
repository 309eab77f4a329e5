"""The whole product as `make run` starts it, for tests that look at it from outside."""

import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    """A port P such that P and P + 1 are free: the launcher uses both."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


@contextmanager
def launched(state: Path, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Start `memesearch.run` and give its address and process; it is stopped as Ctrl-C would."""
    port = free_port()
    command = [sys.executable, "-m", "memesearch.run", "--port", str(port), "--state", str(state), *arguments]
    with (state / "launcher.log").open("a") as log:
        program = subprocess.Popen(command, cwd=PROJECT, stderr=log, text=True)
        try:
            yield f"http://127.0.0.1:{port}/", program
        finally:
            if program.poll() is None:
                program.send_signal(signal.SIGINT)
            program.wait(60)


def wait_until_indexed(address: str, program: "subprocess.Popen[str]", files: int) -> dict[str, Any]:
    """The status once `files` are searchable and nothing is being indexed."""
    for _ in range(600):
        assert program.poll() is None, "the launcher ended early"
        try:
            status = get_json(address + "api/status")
        except OSError:
            time.sleep(0.2)
            continue
        if status["files"] == files and status["indexing"]["state"] == "idle":
            return dict(status)
        time.sleep(0.2)
    raise AssertionError(f"never reached {files} files: {status}")
