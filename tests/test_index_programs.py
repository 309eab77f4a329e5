"""The index as whole programs have it: mse.py beside other programs, killed, without room, without Milvus."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disks import small_disk
from index_life import Life, named
from launched import PROJECT, free_port
from services import (
    OddService,
    Program,
    backend,
    draw,
    files_in_index,
    odd_service,
    on_disk,
    reload,
    wait_for,
    wait_until_idle,
)

from memesearch.library.records import FileStat

DIMENSIONS = 64
USAGE = "usage:"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[OddService]:
    with odd_service(tmp_path) as program:
        yield program


class OnDisk(Life):
    """A library whose files are there, with made vectors; the service is not asked for them again."""

    def __init__(self, folder: Path, count: int, dimensions: int = DIMENSIONS) -> None:
        super().__init__(folder, dimensions)
        self.pictures = folder / "pictures"
        self.pictures.mkdir()
        self.write(named("made", count))

    def write(self, names: list[str]) -> None:
        asyncio.run(self._write(names))

    async def _write(self, names: list[str]) -> None:
        async with self.store() as store:
            await self.add(store, names)

    def file(self, name: str) -> FileStat:
        path = self.pictures / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        stat = path.stat()
        return FileStat(name, stat.st_mtime_ns, stat.st_size)

    async def describe(self) -> None:
        """Say when the pictures below cats/2023 were taken, a day each of May, and that one picture moves."""
        async with self.store() as store:

            def work(db: sqlite3.Connection) -> None:
                this = "WHERE id = (SELECT content_id FROM files WHERE path = ?)"
                for day in range(20):
                    taken = f"2023-05-{day + 1:02}T12:00:00"
                    db.execute(f"UPDATE contents SET taken_at = ? {this}", (taken, f"cats/2023/{day}.png"))
                db.execute(f"UPDATE contents SET kind = 'animation' {this}", ("catsup/1.png",))

            await store._write(work)

    def answers(self, program: Program) -> None:
        """The program ranks exactly the files that are held, as their vectors say."""
        query = self.random.standard_normal(self.dimensions).astype(np.float32)
        body = {"terms": [{"embedding": query.tolist()}], "k": 20_000}
        found = {match[1]: match[0] for match in program.post("", body)["matches"]}
        expected = {name: float(row.astype(np.float32) @ query) for name, row in self.held.items()}
        assert found.keys() == expected.keys()
        tolerance = 1e-3 * float(np.linalg.norm(query))
        assert all(abs(found[name] - score) < tolerance for name, score in expected.items())


@pytest.fixture(autouse=True)
def nothing_goes_on(tmp_path: Path) -> Iterator[None]:
    """Ends programs that a failed test has left."""
    yield
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if process.name != str(os.getpid()) and str(tmp_path).encode() in (process / "cmdline").read_bytes():
                os.kill(int(process.name), signal.SIGKILL)


def log_of(program: Program) -> str:
    return program.config.with_suffix(".log").read_text()


def ended(program: Program, *arguments: str, seconds: float = 120) -> "subprocess.CompletedProcess[str]":
    """Run the program in the foreground."""
    command = [sys.executable, str(PROJECT / "mse.py"), str(program.config), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


def another(program: Program, folder: Path, **more: Any) -> Program:
    """A program with the same configuration but for `more`, on another port."""
    config = folder / "another_config.json"
    port = free_port()
    settings = {**json.loads(program.config.read_text()), "port": port, **more}
    config.write_text(json.dumps(settings))
    return Program("mse.py", config, port)


def index_of(program: Program) -> dict[str, Any]:
    return dict(program.get("api/status")["index"])


@pytest.mark.parametrize("kind", ["exact", "compact"])
def test_a_program_that_is_killed_between_two_saves_answers_right_after_the_next_start(
    tmp_path: Path, service: OddService, kind: str
) -> None:
    life = OnDisk(tmp_path, 1500)
    program = backend(tmp_path, service, life.pictures, index={"type": kind}, index_memory_mb=1).start()
    wait_until_idle(program)
    life.answers(program)
    assert program.stop() == 0
    program.start()
    wait_until_idle(program)
    for name in named("made", 100):  # followed, but not kept
        (life.pictures / name).unlink()
        del life.held[name]
    reload(program)
    life.answers(program)
    program.stop(signal.SIGKILL)
    program.start()
    life.answers(program)
    assert index_of(program)["kind"] == kind
    assert program.stop() == 0
    assert "Traceback" not in log_of(program)


def test_the_backend_computes_in_the_thread_that_asks() -> None:
    code = (
        "import contextlib, runpy, sys; sys.argv = ['mse.py']\n"
        "with contextlib.suppress(SystemExit): runpy.run_path('mse.py', run_name='__main__')\n"
        "import faiss; print(faiss.omp_get_max_threads())"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert ended.stdout == "1\n"


def test_a_budget_that_is_too_small_is_one_line_that_names_the_least(tmp_path: Path, service: OddService) -> None:
    service.behave(says=512, sends=512)
    life = OnDisk(tmp_path, 50, 512)
    settings = {"index": {"type": "compact"}, "index_memory_mb": 1}
    refused = ended(backend(tmp_path, service, life.pictures, **settings))
    assert refused.returncode == 2
    said = [line for line in refused.stderr.splitlines() if " INFO " not in line]
    assert len(said) == 1
    least = re.search(r"`index_memory_mb`: .* needs at least ([\d,]+) MB", said[0])
    assert least is not None
    settings["index_memory_mb"] = int(least[1].replace(",", ""))
    program = backend(tmp_path, service, life.pictures, **settings).start()
    life.answers(program)
    assert index_of(program)["memory_bytes"] <= settings["index_memory_mb"] * 2**20  # type: ignore[operator]
    assert program.stop() == 0


def refused_in_one_line(program: Program, *arguments: str) -> str:
    """The line with which it does not start."""
    refused = ended(program, *arguments)
    assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    (said,) = [line for line in refused.stderr.splitlines() if " INFO " not in line]
    return said


@pytest.mark.parametrize("kind", ["exact", "compact", "milvus"])
def test_a_second_program_on_the_same_database_is_refused_in_one_line(
    tmp_path: Path, service: OddService, kind: str
) -> None:
    index = {"type": kind}
    if kind == "milvus":
        pytest.importorskip("milvus_lite", reason="the milvus tier is optional: requirements-milvus.txt")
        index["uri"] = "milvus.db"
    life = OnDisk(tmp_path, 50)
    program = backend(tmp_path, service, life.pictures, index=index).start()
    wait_until_idle(program)
    for arguments in ([], ["--rebuild-index"]):
        for other in ({}, {"index": {"type": "exact" if kind == "compact" else "compact"}}):
            said = refused_in_one_line(another(program, tmp_path, **other), *arguments)
            assert f"library.db.index is used by process {program.process.pid}, since " in said  # type: ignore[union-attr]
            assert "is mse.py running already?" in said
    reload(program)
    life.answers(program)
    assert program.stop() == 0


def test_a_second_program_is_refused_while_nothing_is_indexed_and_when_the_first_is_killed_the_next_starts(
    tmp_path: Path, service: OddService
) -> None:
    service.stop(signal.SIGKILL)
    (tmp_path / "pictures").mkdir()
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    assert "is mse.py running already?" in refused_in_one_line(another(program, tmp_path))
    program.stop(signal.SIGKILL)
    program.start()
    assert program.stop() == 0


def test_a_server_does_not_start_while_the_index_is_rebuilt(tmp_path: Path, service: OddService) -> None:
    life = OnDisk(tmp_path, 8000)
    program = backend(tmp_path, service, life.pictures, index={"type": "compact"}, index_memory_mb=1)
    with rebuilding(program) as rebuild:
        assert "is mse.py running already?" in refused_in_one_line(program)
        assert rebuild.poll() is None
        rebuild.kill()


def test_indexing_once_beside_a_running_server_leaves_its_index_alone(tmp_path: Path, service: OddService) -> None:
    for seed in range(6):
        draw(tmp_path / f"pictures/{seed}.png", seed)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_for(lambda: program.get("")["n_total"] == 6)
    wait_until_idle(program)
    folder = tmp_path / "library.db.index"
    before = sorted(path.name for path in folder.rglob("*"))
    draw(tmp_path / "pictures/new.png", 30)
    (tmp_path / "pictures/0.png").unlink()
    once = ended(another(program, tmp_path, no_run_server=True))
    assert once.returncode == 0
    assert "1 new or changed, 1 gone" in once.stdout
    assert sorted(path.name for path in folder.rglob("*")) == before
    wait_for(lambda: files_in_index(program) == on_disk(tmp_path / "pictures"))
    assert program.stop() == 0
    program.start()
    assert files_in_index(program) == on_disk(tmp_path / "pictures")
    assert program.stop() == 0


SAVING_OFTEN = """
import sys
import mse
from memesearch.search import rebuild
from memesearch.web import run_program

rebuild.SAVE_SECONDS = 0.1
raise SystemExit(run_program(mse.MseConfig, mse.rebuild_index, sys.argv))
"""


@contextlib.contextmanager
def rebuilding(program: Program) -> "Iterator[subprocess.Popen[bytes]]":
    """`--rebuild-index` after it has kept a part of its work; it has to be ended before it is done."""
    log = program.config.with_name("rebuilding.log")
    with log.open("wb") as file:
        command = [sys.executable, "-c", SAVING_OFTEN, str(program.config)]
        rebuild = subprocess.Popen(command, stderr=file, stdout=file, cwd=PROJECT)
    wait_for(lambda: re.search(r"rebuilding: [1-9].*(\n.*)*rebuilding: ", log.read_text()))
    yield rebuild
    rebuild.wait(60)
    assert "are in the" not in log.read_text()


def kill_while_rebuilding(program: Program) -> None:
    with rebuilding(program) as rebuild:
        rebuild.kill()


@pytest.mark.parametrize(("kind", "count"), [("compact", 8000), ("milvus", 16_000)])
def test_rebuilding_an_index_that_was_killed_goes_on_where_it_was(
    tmp_path: Path, service: OddService, kind: str, count: int
) -> None:
    index = {"type": "compact"}
    if kind == "milvus":
        pytest.importorskip("milvus_lite", reason="the milvus tier is optional: requirements-milvus.txt")
        index = {"type": "milvus", "uri": "./something.db"}
    life = OnDisk(tmp_path, count)
    program = backend(tmp_path, service, life.pictures, index=index, index_memory_mb=1)
    kill_while_rebuilding(program)
    second = ended(program, "--rebuild-index")
    assert second.returncode == 0, second.stderr
    left = re.search(r"going on with a rebuilding that was broken off: (\d+) changes left", second.stderr)
    assert left is not None
    assert 0 < int(left[1]) < count
    assert second.stdout == f"{count} pictures ({count} vectors) are in the {kind} index\n"
    assert not list(life.kept.glob("rebuilding-*"))
    third = ended(program, "--rebuild-index")
    assert third.returncode == 0
    assert "going on" not in third.stderr  # from the start, for nothing was broken off
    assert third.stdout == second.stdout
    program.start()
    life.answers(program)
    assert program.stop() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_rebuilding_that_is_stopped_says_so_and_the_next_call_goes_on(
    tmp_path: Path, service: OddService, how: signal.Signals
) -> None:
    life = OnDisk(tmp_path, 8000)
    program = backend(tmp_path, service, life.pictures, index={"type": "compact"}, index_memory_mb=1)
    with rebuilding(program) as rebuild:
        rebuild.send_signal(how)
    assert rebuild.returncode == 1
    said = program.config.with_name("rebuilding.log").read_text()
    sentence = "stopped before the index was complete; the next --rebuild-index goes on from here"
    assert said.splitlines()[-1] == sentence
    assert "Traceback" not in said
    second = ended(program, "--rebuild-index")
    assert (second.returncode, second.stdout) == (0, "8000 pictures (8000 vectors) are in the compact index\n")
    assert re.search(r"going on with a rebuilding that was broken off: [1-7]\d* changes left", second.stderr)
    assert re.search(r"a part of the index is built: \d+ vectors, \d+ sealed parts", second.stderr)
    assert "Stats(" not in second.stderr


@pytest.mark.parametrize("room", [64 * 2**10, 600 * 2**10])
def test_rebuilding_without_room_says_so_in_one_line_and_goes_on_when_there_is(
    tmp_path: Path, service: OddService, room: int
) -> None:
    life = OnDisk(tmp_path, 8000)
    program = backend(tmp_path, service, life.pictures, index={"type": "compact"}, index_memory_mb=1)
    with small_disk(life.kept, "20m") as disk:
        filler = disk / "filler"
        filler.write_bytes(bytes(20 * 2**20 - room))
        first = ended(program, "--rebuild-index")
        assert (first.returncode, first.stdout) == (1, "")
        assert "Traceback" not in first.stderr
        assert re.fullmatch(
            rf".*mse.py: the index cannot be built to its end in {disk}: .*No space left on device.*goes on from here",
            first.stderr.splitlines()[-1],
        )
        filler.unlink()
        second = ended(program, "--rebuild-index")
        assert (second.returncode, second.stdout) == (0, "8000 pictures (8000 vectors) are in the compact index\n")
        assert "going on with a rebuilding that was broken off" in second.stderr
        program.start()
        life.answers(program)
        assert program.stop() == 0


def test_rebuilding_the_index_of_a_database_that_is_not_there_makes_none(tmp_path: Path, service: OddService) -> None:
    program = backend(tmp_path, service, tmp_path, db_path="libary.db")
    before = sorted(path.name for path in tmp_path.iterdir())
    said = refused_in_one_line(program, "--rebuild-index")
    assert f"`db_path`: there is no database {tmp_path / 'libary.db'} to build an index of" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_unknown_arguments_are_refused(tmp_path: Path, service: OddService) -> None:
    program = backend(tmp_path, service, tmp_path)
    for arguments in (["--rebuild"], ["--rebuild-index", "now"], ["--help"]):
        refused = ended(program, *arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(USAGE)
        assert "--rebuild-index" in refused.stderr
    assert not (tmp_path / "library.db").exists()


@pytest.fixture
def plain(tmp_path: Path, service: OddService) -> Iterator[Program]:
    """A running program with ten pictures."""
    life = OnDisk(tmp_path, 10)
    yield (program := backend(tmp_path, service, life.pictures).start())
    assert program.stop() == 0


class MilvusServer:
    """milvus-lite's own server, which can go and come back."""

    def __init__(self, folder: Path) -> None:
        pytest.importorskip("pymilvus", reason="the milvus tier is optional: requirements-milvus.txt")
        pytest.importorskip("milvus_lite", reason="this test needs milvus-lite: requirements-milvus.txt")
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = "import sys; from milvus_lite.adapter.grpc.server import run_server; "
        code += "run_server(sys.argv[1], '127.0.0.1', int(sys.argv[2]))"
        command = [sys.executable, "-c", code, str(self.folder / "served.db"), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def milvus(tmp_path: Path) -> Iterator[MilvusServer]:
    server = MilvusServer(tmp_path)
    yield server
    server.kill()


def test_milvus_away_at_start_is_told_and_words_are_searched_until_it_comes(
    tmp_path: Path, service: OddService, milvus: MilvusServer
) -> None:
    life = OnDisk(tmp_path, 300)
    life.write(["cats/grumpy cat.png"])
    program = backend(tmp_path, service, life.pictures, index={"type": "milvus", "uri": milvus.uri}).start()
    found = program.get("api/search?q=grumpy")
    assert [result["file"] for result in found["results"]] == ["cats/grumpy cat.png"]
    assert "Milvus at" in found["notices"][0]
    wait_for(lambda: "Milvus at" in str(index_of(program)["problem"]))
    assert program.refusal("", {"terms": [{"embedding": [1.0] * DIMENSIONS}]})[0] == 503
    draw(life.pictures / "drawn.png", 9)
    milvus.start()
    wait_for(lambda: files_in_index(program) == {*life.held, "drawn.png"})
    (life.pictures / "drawn.png").unlink()
    reload(program)
    life.answers(program)
    wait_for(lambda: index_of(program)["problem"] is None)
    assert program.get("api/search?q=grumpy")["notices"] == []
    assert program.stop() == 0
    assert "Traceback" not in log_of(program)


@pytest.mark.parametrize("uri", ["http://somewhere:port", "http://", "milvus", "/proc/milvus.db"])
def test_a_milvus_that_cannot_be_there_is_told_at_start_also_when_nothing_is_indexed(
    tmp_path: Path, service: OddService, uri: str
) -> None:
    pytest.importorskip("milvus_lite", reason="the milvus tier is optional: requirements-milvus.txt")
    (tmp_path / "pictures").mkdir()
    program = backend(tmp_path, service, tmp_path / "pictures", index={"type": "milvus", "uri": uri})
    if uri == "milvus":
        program.config.write_text(program.config.read_text().replace('milvus"}', 'milvus.txt"}'))
    assert "`index`: " in refused_in_one_line(program)
    assert not (tmp_path / "library.db").exists()


def test_without_pymilvus_the_program_says_at_start_what_to_install(
    tmp_path: Path, service: OddService, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/pymilvus.py").write_text("raise ImportError('No module named pymilvus')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    index = {"type": "milvus", "uri": "http://127.0.0.1:19530"}
    program = backend(tmp_path, service, tmp_path / "pictures", index=index)
    assert "pip install -r requirements-milvus.txt" in refused_in_one_line(program)


def test_milvus_away_is_in_the_status_at_once_also_when_nothing_is_indexed(
    tmp_path: Path, service: OddService, milvus: MilvusServer
) -> None:
    service.stop(signal.SIGKILL)
    (tmp_path / "pictures").mkdir()
    index = {"type": "milvus", "uri": milvus.uri}
    program = backend(tmp_path, service, tmp_path / "pictures", index=index).start()
    told = wait_for(lambda: program.get("api/status")["index"])
    assert (told["kind"], told["contents"]) == ("milvus", 0)
    assert told["problem"] == f"Milvus at {milvus.uri} cannot be reached"
    assert program.metric("mse_index_problem") == 1
    milvus.start()
    wait_for(lambda: program.get("api/status")["index"] is None)
    assert program.metric("mse_index_problem") == 0
    service.start()
    draw(tmp_path / "pictures/1.png", 1)
    reload(program)
    assert files_in_index(program) == {"1.png"}
    assert program.stop() == 0


def test_a_milvus_that_comes_back_empty_is_filled_again(
    tmp_path: Path, service: OddService, milvus: MilvusServer
) -> None:
    milvus.start()
    life = OnDisk(tmp_path, 300)
    program = backend(tmp_path, service, life.pictures, index={"type": "milvus", "uri": milvus.uri}).start()
    wait_until_idle(program)
    life.answers(program)
    milvus.kill()
    (tmp_path / "served.db").rename(tmp_path / "lost.db")
    milvus.start()
    wait_for(lambda: index_of(program)["problem"] is None and files_in_index(program) == set(life.held))
    life.answers(program)
    assert "Milvus has lost the vectors: it is filled again" in log_of(program)
    assert program.stop() == 0
    assert "Traceback" not in log_of(program)


def test_milvus_that_is_away_when_the_first_picture_is_indexed_is_waited_for(
    tmp_path: Path, service: OddService, milvus: MilvusServer
) -> None:
    for seed in range(10):
        draw(tmp_path / f"pictures/{seed}.png", seed)
    index = {"type": "milvus", "uri": milvus.uri}
    program = backend(tmp_path, service, tmp_path / "pictures", index=index).start()
    wait_for(lambda: "Milvus at" in str(program.get("api/status")["indexing"]["message"]))
    milvus.start()
    wait_for(lambda: program.get("")["d_emb"] and files_in_index(program) == on_disk(tmp_path / "pictures"))
    assert program.stop() == 0
    assert "Traceback" not in log_of(program)


def test_milvus_that_dies_in_the_middle_of_indexing_is_waited_for(
    tmp_path: Path, service: OddService, milvus: MilvusServer
) -> None:
    milvus.start()
    for seed in range(60):
        draw(tmp_path / f"pictures/{seed}.png", seed)
    service.behave(seconds=0.4)
    index = {"type": "milvus", "uri": milvus.uri}
    program = backend(tmp_path, service, tmp_path / "pictures", index=index).start()
    wait_for(lambda: program.get("api/status")["indexing"]["done"] > 8)
    milvus.kill()
    wait_for(lambda: "Milvus at" in str(program.get("api/status")))
    assert "Milvus at" in program.get("api/search?q=19")["notices"][0]
    service.behave()
    milvus.start()
    wait_for(lambda: program.get("")["n_total"] == 60)
    wait_for(lambda: files_in_index(program) == on_disk(tmp_path / "pictures"))
    wait_for(lambda: program.get("api/status")["indexing"]["message"] is None)
    assert program.stop() == 0
    assert "Traceback" not in log_of(program)


@pytest.mark.parametrize("kind", ["exact", "compact"])
def test_filters_keep_the_right_pictures(tmp_path: Path, service: OddService, kind: str) -> None:
    life = OnDisk(tmp_path, 1500)
    life.write([f"cats/2023/{number}.png" for number in range(20)])
    life.write(["cats/2024/grumpy cat.png"])
    life.write([f"catsup/{number}.png" for number in range(5)])
    asyncio.run(life.describe())
    program = backend(tmp_path, service, life.pictures, index={"type": kind}, index_memory_mb=1).start()
    wait_until_idle(program)
    if kind == "compact":
        wait_for(lambda: index_of(program)["segments"] == 1)

    def found(**chosen: str) -> set[str]:
        """What the filter keeps, which has to be the same in every way of asking."""
        query = life.random.standard_normal(DIMENSIONS).tolist()
        body = {"terms": [{"embedding": query}], "k": 2000, "filter": chosen}
        by_vector, newest = program.post("api/search", body), program.post("api/search", {"k": 2000, "filter": chosen})
        address = "api/search?k=2000&" + "&".join(f"{name}={value}" for name, value in chosen.items())
        answers = [by_vector, newest, program.get(address), program.get(address + "&q=nothing")]
        files = [{result["file"] for result in answer["results"]} for answer in answers]
        assert all(answer["total"] == len(answer["results"]) for answer in answers)
        assert all(other == files[0] for other in files[1:])
        return files[0]

    held = set(life.held)
    cats = {name for name in held if name.startswith("cats/")}
    assert found(folder="cats") == found(folder="cats/") == cats
    assert found(folder="cats/2024") == {"cats/2024/grumpy cat.png"}
    assert found(folder="nowhere") == found(folder="cat") == set()
    assert found(folder="/") == held
    assert found(kind="animation") == {"catsup/1.png"}
    assert found(kind="image", folder="catsup") == {f"catsup/{number}.png" for number in (0, 2, 3, 4)}
    of_2023 = {f"cats/2023/{number}.png" for number in range(20)}
    assert found(after="2023", before="2024") == of_2023
    assert found(after="2023-05-10", before="2023-05-11") == {"cats/2023/9.png"}
    assert found(before="2023-05-03") == {"cats/2023/0.png", "cats/2023/1.png"}
    assert found(after="2023-05-19", before="2024-01", folder="cats") == {"cats/2023/18.png", "cats/2023/19.png"}
    words = program.get("api/search?q=grumpy&folder=cats")
    assert words["results"][0]["file"] == "cats/2024/grumpy cat.png"
    assert words["results"][0]["text_rank"] == 1
    assert program.get("api/search?q=grumpy&folder=catsup")["results"][0]["text_rank"] is None
    assert program.stop() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("after", "yesterday"), ("before", "2023-5"), ("after", "2023-02-30"), ("before", "2023-13"), ("kind", "video")],
)
def test_filters_that_mean_nothing_are_named(plain: Program, name: str, value: str) -> None:
    status, sentence = plain.refusal("api/search", {"filter": {name: value}})
    assert (status, name in sentence) == (400, True)
    with pytest.raises(urllib.error.HTTPError) as refused:
        plain.get(f"api/search?{name}={value}")
    assert refused.value.code == 400
    assert name in json.load(refused.value)["error"]


def test_an_unknown_filter_is_named(plain: Program) -> None:
    status, sentence = plain.refusal("api/search", {"filter": {"colour": "red"}})
    assert (status, "colour" in sentence) == (400, True)


def test_recall_is_told_after_the_start(tmp_path: Path, service: OddService) -> None:
    life = OnDisk(tmp_path, 1500)
    program = backend(tmp_path, service, life.pictures, index={"type": "compact"}, index_memory_mb=1).start()
    wait_until_idle(program)
    (told,) = wait_for(lambda: index_of(program)["recall"])
    assert (told["queries"], told["sampled"]) == ("picture", 100)
    assert 0.98 <= told["at_10"] <= 1
    assert program.metric('mse_index_recall{at="10",queries="picture"}') == told["at_10"]
    assert program.metric('mse_index_recall{at="100",queries="picture"}') == told["at_100"]
    assert program.metric("mse_index_vectors") == 1500
    assert (
        program.metric('mse_index_searched_share{queries="picture"}')
        == index_of(program)["efforts"]["picture"]["share"]
    )
    assert program.stop() == 0


def test_work_that_stands_still_is_logged_once(tmp_path: Path, service: OddService) -> None:
    service.behave(seconds=9)
    draw(tmp_path / "pictures/1.png", 1)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_for(lambda: program.get("")["n_total"] == 1)
    wait_until_idle(program)
    assert len(re.findall(r"indexing: 0 / 1,", log_of(program))) == 1
    building = index_of(program)["building"]
    assert (building["state"], building["done"], building["total"]) == ("idle", 0, 0)
    assert program.stop() == 0
