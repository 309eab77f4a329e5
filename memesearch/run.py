"""Starts the embedding service and the search backend for one folder, and stops both on Ctrl-C.

    python -m memesearch.run [--memes FOLDER] [--model MODEL] [--port PORT] [--state FOLDER]

This is what `make run` does. For a machine that is always on, deploy/ has systemd units.
"""

import argparse
import errno
import hashlib
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from memesearch.machine import end_with_parent

PROJECT = Path(__file__).resolve().parents[1]
DEMO_MODEL = f"local-dir:{PROJECT / 'demo' / 'model'}"
STOP_SECONDS = 10.0


class Failed(Exception):
    """A program ended before it was ready; it has said why itself."""


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make run", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--memes", default="", help="folder of pictures; without it a sample library is made")
    parser.add_argument("--model", default="", help="what OpenCLIP loads; without it the bundled demo model")
    parser.add_argument("--port", type=int, default=1707)
    parser.add_argument("--state", default="state", help="folder of the database")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a parent had SIGINT ignored
    state = Path(options.state).absolute()
    programs: list[subprocess.Popen[bytes]] = []
    try:
        check_ports(options.port, options.port + 1)
        memes = Path(options.memes).expanduser().absolute() if options.memes else sample_library(state)
        service, backend = write_configs(memes, options.model or DEMO_MODEL, options.port, state)
        start_all(programs, service, backend, options.port)
        say(f"open http://127.0.0.1:{options.port}/ — {memes}. Ctrl-C stops.")
        watch(programs, options.port)
    except KeyboardInterrupt:
        say("stopping")
    except (Failed, OSError) as error:
        say(str(error))
        return 1
    finally:
        stop(programs)
    return 0


def say(text: str) -> None:
    print(f"» {text}", file=sys.stderr, flush=True)


def check_ports(*ports: int) -> None:
    """Raises Failed when another program listens on one of them."""
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                reason = "is in use already" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
                raise Failed(f"port {port} {reason}; stop what uses it, or choose another with PORT=") from error
            except OverflowError as error:
                raise Failed(f"there is no port {port}; choose another with PORT=") from error


def sample_library(state: Path) -> Path:
    folder = state / "sample-library"
    say(f"MEMES= names no folder: using the sample library in {folder}")
    made = subprocess.run([sys.executable, str(PROJECT / "demo" / "sample_library.py"), str(folder)], check=False)
    if made.returncode:
        raise Failed("the sample library could not be made")
    return folder


def write_configs(memes: Path, model: str, port: int, state: Path) -> tuple[Path, Path]:
    """The two configs, in `state`; each folder of pictures has a database of its own."""
    state.mkdir(parents=True, exist_ok=True)
    if model.startswith("local-dir:"):
        model = f"local-dir:{Path(model.removeprefix('local-dir:')).expanduser().absolute()}"
    database = f"{memes.name}-{hashlib.sha256(str(memes).encode()).hexdigest()[:8]}.db"
    service = {"device": "auto", "model": model, "model_name": model.rsplit("/", 1)[-1], "port": port + 1}
    backend = {
        "clip_server": f"http://127.0.0.1:{port + 1}/",
        "db_path": database,
        "files": str(memes),
        "port": port,
        "thumbnails": f"{database.removesuffix('.db')}-thumbnails",
    }
    paths = state / "clip_server_config.json", state / "mse_config.json"
    for path, config in zip(paths, (service, backend), strict=True):
        path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return paths


def start_all(programs: list["subprocess.Popen[bytes]"], service: Path, backend: Path, port: int) -> None:
    """Start one after the other and return once both are healthy. Raises Failed when one ends instead."""
    steps = (
        ("the embedding service", "clip_server.py", service, port + 1),
        ("the search backend", "mse.py", backend, port),
    )
    for name, program, config, at in steps:
        say(f"starting {name}")
        command = [sys.executable, str(PROJECT / program), str(config)]
        programs.append(subprocess.Popen(command, cwd=PROJECT, preexec_fn=leave_signals_to_parent))
        while not ask(f"http://127.0.0.1:{at}/health"):
            check_alive(programs)
            time.sleep(0.2)
        check_alive(programs)


def leave_signals_to_parent() -> None:
    """In the child: get SIGTERM when this launcher dies; Ctrl-C is the launcher's to pass on."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def check_alive(programs: list["subprocess.Popen[bytes]"]) -> None:
    for program in programs:
        if program.poll() is not None:
            name = Path(str(program.args[1])).name  # type: ignore[index]
            raise Failed(f"{name} ended (status {program.returncode}); its message is above")


def ask(url: str) -> Any:
    """The JSON at `url`, or None while nobody answers well."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)
    except (OSError, ValueError):
        return None


def watch(programs: list["subprocess.Popen[bytes]"], port: int) -> None:
    """Show progress until a program ends or the user stops this one."""
    shown = ""
    while True:
        check_alive(programs)
        status = ask(f"http://127.0.0.1:{port}/api/status")
        if status and (line := describe(status)) != shown:
            say(line)
            shown = line
        time.sleep(2)


def describe(status: dict[str, Any]) -> str:
    for name, doing in (("indexing", "indexing"), ("ocr", "reading text from pictures")):
        work = status[name]
        if work["state"] in ("indexing", "reading"):
            left = "" if work["seconds_left"] is None else f", {work['seconds_left']:.0f} s left"
            return f"{doing}: {work['done']:,} / {work['total']:,}, {work['rate']:.1f}/s{left}"
        if work["state"] == "waiting":
            return f"indexing waits: {work['message']}"
    failed = f", {status['failures']:,} could not be read" if status["failures"] else ""
    return f"{status['files']:,} pictures searchable{failed}"


def stop(programs: list["subprocess.Popen[bytes]"]) -> None:
    for program in programs:
        if program.poll() is None:
            program.terminate()
    for program in programs:
        try:
            program.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


if __name__ == "__main__":
    raise SystemExit(main())
