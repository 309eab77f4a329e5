"""What the benchmarks share: real services on free ports, and requests to them."""

import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[1]
DEMO_MODEL = f"local-dir:{PROJECT / 'demo' / 'model'}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def memory_of(pid: int, kind: str = "RssAnon") -> int:
    """Bytes of a process: what it alone holds (RssAnon), with files that it has mapped (VmRSS), at its peak (VmHWM)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=300) as answer:
        return json.load(answer)


def post_json(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def wait_for(condition: Callable[[], Any], seconds: float = 3600, pause: float = 0.05) -> Any:
    """The first true value of `condition`; connection errors count as false."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if value := condition():
                return value
        except OSError:
            pass
        time.sleep(pause)
    raise TimeoutError("the services did not get there")


def import_seconds() -> float:
    """What a start of `mse.py` takes at the least."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import mse"], cwd=PROJECT, check=True)
    return time.perf_counter() - started


@contextmanager
def program(script: str, config: Path, url: str) -> Iterator["subprocess.Popen[bytes]"]:
    """One of the project's programs, healthy; stopped at the end."""
    with config.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen([sys.executable, str(PROJECT / script), str(config)], stderr=log)
        try:
            wait_for(lambda: get_json(url + "health"), 300)
            yield process
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def embedding_service(folder: Path, model: str = DEMO_MODEL, max_batch_size: int = 64, **more: Any) -> Iterator[str]:
    port = free_port()
    config = folder / "clip_server_config.json"
    settings = {"model": model, "port": port, "max_batch_size": max_batch_size, "device": "cpu"}
    config.write_text(json.dumps({**settings, **more}))
    url = f"http://127.0.0.1:{port}/"
    with program("clip_server.py", config, url):
        yield url


@contextmanager
def backend(folder: Path, service: str, pictures: Path, **more: Any) -> Iterator[tuple[str, int]]:
    """Address and process id of a search backend over `pictures`."""
    port = free_port()
    config = folder / "mse_config.json"
    settings = {"clip_server": service, "db_path": "library.db", "files": str(pictures), "port": port, "ocr": False}
    config.write_text(json.dumps({**settings, **more}))
    url = f"http://127.0.0.1:{port}/"
    with program("mse.py", config, url) as process:
        yield url, process.pid


@contextmanager
def running_services(folder: Path, pictures: Path, ocr: bool) -> Iterator[str]:
    """Address of a backend with the bundled model over `pictures`."""
    with embedding_service(folder) as service, backend(folder, service, pictures, ocr=ocr) as (url, _):
        yield url


def wait_for_texts(url: str) -> None:
    """Until everything is indexed and read, telling progress."""

    def finished() -> bool:
        status = get_json(url + "api/status")
        work = status["ocr"]
        print(f"\rread {work['done']} / {work['total']}", end="", file=sys.stderr)
        return bool(
            status["files"] and status["indexing"]["state"] == "idle" and work["state"] == "idle" and work["done"]
        )

    wait_for(finished, pause=2)
    print(file=sys.stderr)
