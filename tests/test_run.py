"""`make run`, without make: one command from nothing to a searchable library."""

import json
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

from launched import PROJECT, free_port, get_json, launched, wait_until_indexed


def metric(address: str, name: str) -> float:
    with urllib.request.urlopen(address + "metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def next_port(address: str) -> str:
    port = int(address.rstrip("/").rpartition(":")[2])
    return f"http://127.0.0.1:{port + 1}/"


def test_the_sample_library_is_made_indexed_and_searched_and_a_second_start_embeds_nothing(tmp_path: Path) -> None:
    with launched(tmp_path) as (address, program):
        wait_until_indexed(address, program, 500)
        found = get_json(address + "api/search?q=penguin&k=10")["results"]
        assert len(found) == 10
        assert metric(next_port(address), 'modelserver_total_items_total{modality="image"') >= 500
    assert program.returncode == 0
    with launched(tmp_path) as (address, program):
        wait_until_indexed(address, program, 500)
        assert metric(next_port(address), 'modelserver_total_items_total{modality="image"') == 0
    assert program.returncode == 0


def test_most_typed_queries_put_a_right_picture_in_the_first_ten(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "demo/sample_library.py", str(tmp_path / "library"), "--labels", str(tmp_path / "labels")],
        cwd=PROJECT, check=True,
    )  # fmt: skip
    labels = json.loads((tmp_path / "labels").read_text("utf-8"))
    queries = json.loads((PROJECT / "demo" / "queries.json").read_text("utf-8"))
    right = 0
    with launched(tmp_path, "--memes", str(tmp_path / "library")) as (address, program):
        wait_until_indexed(address, program, 500)
        for query in queries:
            asked = urllib.parse.urlencode({"q": query["query"], "k": 10})
            found = get_json(f"{address}api/search?{asked}")["results"]
            wanted = set(query["any_of"])
            right += any(wanted & set(labels[result["file"]]["things"]) for result in found)
    assert right >= 15


def test_a_folder_that_is_not_there_is_said_and_nothing_is_left_running(tmp_path: Path) -> None:
    port = free_port()
    ended = subprocess.run(
        [sys.executable, "-m", "memesearch.run", "--port", str(port), "--state", str(tmp_path), "--memes", "/no/such"],
        cwd=PROJECT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "`files`: /no/such is not a folder" in ended.stderr
    assert subprocess.run(["pgrep", "-f", str(tmp_path)], check=False, capture_output=True).stdout == b""


def test_a_port_that_is_taken_is_said_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "memesearch.run", "--port", str(port), "--state", str(tmp_path / "state")],
            cwd=PROJECT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.strip() == f"» port {port} is in use already; stop what uses it, or choose another with PORT="
    assert not (tmp_path / "state").exists()
