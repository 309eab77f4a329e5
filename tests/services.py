"""Real processes of the two programs, for tests that need one of them at a time."""

import hashlib
import json
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from launched import PROJECT, free_port
from PIL import Image, ImageDraw

DEMO_MODEL = f"local-dir:{PROJECT / 'demo' / 'model'}"


class Program:
    """One program under one config; `start` and `kill` as often as a test likes."""

    def __init__(self, script: str, config: Path, port: int) -> None:
        self.script, self.config, self.port = script, config, port
        self.url = f"http://127.0.0.1:{port}/"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> "Program":
        command = [sys.executable, str(PROJECT / self.script), str(self.config)]
        with self.config.with_suffix(".log").open("ab") as log:
            self.process = process = subprocess.Popen(command, stderr=log, stdout=log)
        wait_for(lambda: self.get("health") if process.poll() is None else self.complain())
        return self

    def complain(self) -> None:
        """Fail at once with what the program said before it ended."""
        raise AssertionError(self.config.with_suffix(".log").read_text())

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(30)

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        """The JSON answer; raises HTTPError for any other status than 200."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, raw), timeout=120) as answer:
            return json.load(answer)

    def refusal(self, path: str, body: Any) -> tuple[int, str]:
        """Status and error sentence of a request that must fail."""
        try:
            answer = self.post(path, body)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)["error"]
        raise AssertionError(f"was not refused: {answer}")

    def metric(self, name: str) -> float:
        with urllib.request.urlopen(self.url + "metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def wait_for(condition: Any, seconds: float = 90) -> Any:
    """The first true value of `condition`; connection errors count as false."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"did not happen within {seconds} seconds")


P = TypeVar("P", bound=Program)


@contextmanager
def running(program: P) -> Iterator[P]:
    """Started; at the end it must stop cleanly, unless the test has stopped it."""
    try:
        program.start()
        yield program
    finally:
        if program.process is not None and program.process.poll() is None:
            assert program.stop() == 0


def clip_server(folder: Path, model: str = DEMO_MODEL, port: int = 0, **more: Any) -> Program:
    """A configured embedding service, not started."""
    port = port or free_port()
    config = folder / "clip_server_config.json"
    settings = {"model": model, "port": port, "max_batch_size": 8, "device": "cpu"}
    config.write_text(json.dumps({**settings, **more}))
    return Program("clip_server.py", config, port)


def backend(folder: Path, service: Program, pictures: Path, **more: Any) -> Program:
    """A configured search backend, not started."""
    port = free_port()
    config = folder / "mse_config.json"
    settings = {"clip_server": service.url, "db_path": "library.db", "files": str(pictures), "port": port}
    config.write_text(json.dumps({**settings, "ocr": False, "watch": False, "decode_workers": 1, **more}))
    return Program("mse.py", config, port)


def files_in_index(program: Program) -> set[str]:
    """Every file that a search can return."""
    vector = [1.0] + [0.0] * (program.get("")["d_emb"] - 1)
    return {match[1] for match in program.post("", {"terms": [{"embedding": vector}], "k": 10_000})["matches"]}


def on_disk(pictures: Path) -> set[str]:
    """Every file below the folder, as the library names them."""
    return {str(path.relative_to(pictures)) for path in pictures.rglob("*") if path.is_file()}


def reload(program: Program) -> None:
    """Ask for a reload that must succeed."""
    assert program.post("reload_index", b"") is True


def wait_until_idle(program: Program) -> None:
    """Until the scan at start has ended."""
    wait_for(lambda: program.get("")["d_emb"] and program.get("api/status")["indexing"]["state"] == "idle")


def draw(path: Path, seed: int, size: tuple[int, int] = (120, 90)) -> None:
    """A picture that differs for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, (seed * 37 % 256, seed * 91 % 256, seed * 53 % 256))
    ImageDraw.Draw(image).ellipse((seed % 40, 10, 60 + seed % 50, 70), fill=(255 - seed % 200, seed % 256, 128))
    image.save(path)


def digest(path: Path) -> bytes:
    """What a library knows a file by."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).digest()


def rows_of(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """What a statement finds."""
    with closing(sqlite3.connect(database)) as db:
        return db.execute(statement).fetchall()


def write_rows(database: Path, statement: str, *rows: tuple[Any, ...]) -> None:
    """Run a statement for each row."""
    with closing(sqlite3.connect(database)) as db, db:
        db.executemany(statement, rows)


def configure_pictures(folder: Path, **more: Any) -> Path:
    """The configuration of the rater's pictures; unless `more` names one, there is no service to index them."""
    told = {"clip_server": "http://127.0.0.1:9/", "db_path": "images.db", "files": "images", "port": free_port()}
    config = folder / "rater_mse_config.json"
    config.write_text(json.dumps({**told, "no_run_server": True, "ocr": False, **more}))
    return config


class OddService(Program):
    """tests/odd_service.py; its config is the file that says how it behaves."""

    def start(self) -> "OddService":
        command = [sys.executable, str(PROJECT / self.script), str(self.port), str(self.config)]
        self.process = subprocess.Popen(command)
        wait_for(lambda: self.get("health"))
        return self

    def behave(self, **manners: Any) -> None:
        fresh = self.config.with_suffix(".new")
        fresh.write_text(json.dumps(manners))
        fresh.replace(self.config)


@contextmanager
def odd_service(folder: Path) -> Iterator[OddService]:
    """An odd service that behaves well until it is told otherwise."""
    program = OddService("tests/odd_service.py", folder / "manners.json", free_port())
    program.behave()
    program.start()
    yield program
    if program.process is not None and program.process.poll() is None:
        program.stop(signal.SIGKILL)
