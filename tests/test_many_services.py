"""Several embedding services behind nginx, as deploy/nginx-embedding.conf has it; one is killed while indexing."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from launched import PROJECT, free_port
from services import Program, backend, clip_server, draw, files_in_index, reload, wait_for, wait_until_idle

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
PICTURES = 400


@pytest.fixture
def services(tmp_path: Path) -> Iterator[list[Program]]:
    started = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        started.append(clip_server(tmp_path / name).start())
    yield started
    for program in started:
        program.stop()


@pytest.fixture
def proxy(tmp_path: Path, services: list[Program]) -> Iterator[Program]:
    if NGINX is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    shipped = (PROJECT / "deploy/nginx-embedding.conf").read_text("utf-8")
    ports = iter([services[0].port, services[1].port, port])
    conf = re.sub(r"127\.0\.0\.1:\d+", lambda _: f"127.0.0.1:{next(ports)}", shipped)
    user = "user root;" if os.getuid() == 0 else ""
    (tmp_path / "nginx.conf").write_text(
        f"{user} daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/nginx.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy;\n"
        f"fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n{conf}\n}}\n"
    )
    with subprocess.Popen([NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]) as process:
        address = Program("", tmp_path / "nginx.json", port)
        wait_for(lambda: address.get("health"))
        yield address
        process.terminate()


def embedded(service: Program) -> float:
    return service.metric('modelserver_total_items_total{modality="image"')


def test_a_service_killed_under_load_fails_no_picture(tmp_path: Path, services: list[Program], proxy: Program) -> None:
    pictures = tmp_path / "pictures"
    for number in range(PICTURES):
        draw(pictures / f"{number}.png", number)
    library = backend(tmp_path, proxy, pictures, requests_in_flight=6).start()
    wait_for(lambda: embedded(services[0]) > 20 and embedded(services[1]) > 20)
    assert services[1].stop(signal.SIGKILL) == -signal.SIGKILL
    assert library.get("")["n_total"] < PICTURES - 100
    wait_for(lambda: library.get("")["n_total"] == PICTURES)
    wait_until_idle(library)
    assert len(files_in_index(library)) == PICTURES
    assert library.get("api/failures")["total"] == 0
    services[1].start()
    draw(pictures / "new.png", 1234)
    reload(library)
    assert "new.png" in files_in_index(library)
    assert library.stop() == 0
