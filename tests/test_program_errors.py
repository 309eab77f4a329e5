"""A program that cannot start says why in one line and ends with status 2; what it depends on is waited for."""

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from launched import PROJECT, free_port
from services import Program, backend, clip_server, draw, wait_for

LOG_LINE = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (INFO|WARNING) ")


def refusal(script: str, *arguments: object) -> str:
    """The one line, after the program's name, with which a program ends; log lines may come before it."""
    command = [sys.executable, str(PROJECT / script), *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    lines = [line for line in ended.stderr.splitlines() if not LOG_LINE.match(line)]
    assert (ended.returncode, len(lines), ended.stdout) == (2, 1, ""), ended.stderr
    return lines[0].removeprefix(f"{PROJECT / script}: ")


def reason(script: str, config: Path) -> str:
    """What is wrong, behind the name of the config file."""
    sentence = refusal(script, config)
    assert sentence.startswith(f"{config}: ")
    return sentence.removeprefix(f"{config}: ")


def config_file(folder: Path, **changes: Any) -> Path:
    """A config of mse.py over an empty folder, with `changes`; None takes a key out."""
    (folder / "pictures").mkdir(exist_ok=True)
    settings = {"clip_server": "http://127.0.0.1:9/", "db_path": "library.db", "files": "pictures", "port": free_port()}
    path = folder / "mse_config.json"
    path.write_text(json.dumps({key: value for key, value in {**settings, **changes}.items() if value is not None}))
    return path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": "pictures"}, "Object contains unknown field `file`"),
        ({"port": None}, "Object missing required field `port`"),
        ({"port": "1707"}, "Expected `int`, got `str` - at `$.port`"),
        ({"port": 70000}, "`port` must be between 1 and 65535"),
        ({"ocr": "yes"}, "Expected `bool`, got `str` - at `$.ocr`"),
        ({"decode_workers": -1}, "`decode_workers` must be 0"),
        ({"clip_server": "127.0.0.1:1708"}, "`clip_server` must be a URL"),
    ],
)
def test_a_wrong_key_is_named_with_its_file(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    config = config_file(tmp_path, **changes)
    assert refusal("mse.py", config).startswith(f"{config}: {words}")
    assert not (tmp_path / "library.db").exists()


def test_an_unknown_kind_of_thumbnail_is_named_though_none_are_made(tmp_path: Path) -> None:
    words = "`thumbnail_formats`: there is no format 'webp-401' of thumbnails; known are "
    assert words in refusal("mse.py", config_file(tmp_path, thumbnail_formats=["webp-401"]))


@pytest.mark.parametrize("raw", [b"", b'{"port": 1,}', b"port = 1707", b"\xff\xfe\x00", b'{"port": NaN}'])
def test_a_config_that_is_not_json_is_named(tmp_path: Path, raw: bytes) -> None:
    config = tmp_path / "mse_config.json"
    config.write_bytes(raw)
    assert refusal("mse.py", config).startswith(f"{config}: is not valid JSON: ")


@pytest.mark.parametrize("script", ["mse.py", "clip_server.py"])
def test_a_config_that_cannot_be_read_is_named(tmp_path: Path, script: str) -> None:
    missing = tmp_path / "missing.json"
    assert refusal(script, missing) == f"{missing}: cannot be read: No such file or directory"


def test_a_config_that_is_a_folder_is_named(tmp_path: Path) -> None:
    assert refusal("mse.py", tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


@pytest.mark.parametrize("script", ["mse.py", "clip_server.py"])
def test_a_program_without_a_config_says_how_it_is_used(script: str) -> None:
    options = " [--rebuild-index]" if script == "mse.py" else ""
    assert refusal(script) == f"usage: python {PROJECT / script} CONFIG.json{options}"


@pytest.mark.parametrize("script", ["mse.py", "thumbnailer.py", "meme-rater/crawler.py"])
def test_a_program_asked_for_help_says_how_it_is_used_and_ends_well(script: str) -> None:
    command = [sys.executable, str(PROJECT / script), "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith(f"usage: python {PROJECT / script} CONFIG.json")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"files": "nowhere"}, "`files`: {folder}/nowhere is not a folder"),
        ({"files": "mse_config.json"}, "`files`: {folder}/mse_config.json is not a folder"),
        ({"db_path": "pictures"}, "{folder}/pictures: cannot be used as a database: "),
        ({"db_path": "mse_config.json"}, "cannot be used as a database: "),
        ({"predefined_embeddings": "nowhere.json"}, "`predefined_embeddings`: {folder}/nowhere.json cannot be used: "),
        ({"predefined_embeddings": "mse_config.json"}, "`predefined_embeddings`: {folder}/mse_config.json cannot be"),
        ({"host": "no-such-host.invalid"}, "cannot listen on no-such-host.invalid:"),
    ],
)
def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    assert reason("mse.py", config_file(tmp_path, **changes)).startswith(words.format(folder=tmp_path))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sentence = reason("mse.py", config_file(tmp_path, port=port))
    way_out = "choose another `port` or stop what uses it"
    assert sentence == f"cannot listen on 127.0.0.1:{port}: Address already in use; {way_out}"


def test_an_address_of_another_machine_is_not_taken_for_a_port_in_use(tmp_path: Path) -> None:
    port = free_port()
    sentence = reason("mse.py", config_file(tmp_path, host="192.0.2.1", port=port))
    assert sentence == (
        f"cannot listen on 192.0.2.1:{port}: Cannot assign requested address; choose another `host` or `port`"
    )


@pytest.mark.parametrize("damage", ["open_clip_model.safetensors", "open_clip_config.json"])
def test_a_damaged_model_is_named(tmp_path: Path, damage: str) -> None:
    shutil.copytree(PROJECT / "demo/model", tmp_path / "model")
    whole = (tmp_path / "model" / damage).read_bytes()
    (tmp_path / "model" / damage).write_bytes(whole[: len(whole) // 2])
    service = clip_server(tmp_path, "local-dir:model")
    assert reason("clip_server.py", service.config).startswith("`model`: local-dir:model cannot be loaded (")


class Stranger(BaseHTTPRequestHandler):
    """Some other web server: it knows none of the service's addresses."""

    def do_GET(self) -> None:
        self.send_error(int(self.server.answer))  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("answer", [400, 404])
def test_something_else_at_the_services_address_is_told_and_the_service_waited_for(tmp_path: Path, answer: int) -> None:
    draw(tmp_path / "pictures/one.png", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Stranger) as other:
        other.answer = answer  # type: ignore[attr-defined]
        Thread(target=other.serve_forever, daemon=True).start()
        service = clip_server(tmp_path, port=other.server_port)
        program = backend(tmp_path, service, tmp_path / "pictures").start()
        status = wait_for(lambda: waiting(program), 30)
        other.shutdown()
    assert service.url in status["message"]
    service.start()
    wait_for(lambda: program.get("")["n_total"] == 1)
    assert program.stop() == 0
    service.stop()


def waiting(program: Program) -> dict[str, Any] | None:
    """What the backend says of its indexing while that waits."""
    indexing: dict[str, Any] = program.get("api/status")["indexing"]
    return indexing if indexing["state"] == "waiting" else None


def heeds_sigterm(process: int) -> bool:
    status = Path(f"/proc/{process}/status").read_text()
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("seconds", [0, 0.5, 1.5])
def test_sigterm_while_the_model_is_loaded_is_a_clean_stop(tmp_path: Path, seconds: float) -> None:
    program = clip_server(tmp_path)
    process = subprocess.Popen([sys.executable, str(PROJECT / "clip_server.py"), str(program.config)])
    wait_for(lambda: heeds_sigterm(process.pid))
    time.sleep(seconds)
    process.terminate()
    assert process.wait(30) == 0
