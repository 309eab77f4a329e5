"""Databases of other versions, of other programs and in the middle of an upgrade; reading one side by side."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from index_life import Life, named
from launched import PROJECT

from memesearch.errors import ConfigError
from memesearch.library.migrations import STEPS, upgrade
from memesearch.library.store import Store

OLD_TABLE = "CREATE TABLE files (filename TEXT PRIMARY KEY, modtime REAL, embedding_vector BLOB)"
Vectors = dict[str, tuple[float, bytes]]


def old_database(path: Path, count: int = 3) -> Vectors:
    """Make what the first implementation left, with `count` vectors and one picture that it could not embed."""
    vectors = {
        f"folder {n % 7}/é'{n}.png": (1.6e9 + n / 3, n.to_bytes(4, "little") * 256 + b"\x00") for n in range(count)
    }
    with closing(sqlite3.connect(path)) as db:
        db.execute(OLD_TABLE)
        db.executemany("INSERT INTO files VALUES (?, ?, ?)", [(name, *row) for name, row in vectors.items()])
        db.execute("INSERT INTO files VALUES ('bad.png', 1.0, NULL)")
        db.commit()
    return vectors


async def old_vectors(store: Store) -> Vectors:
    times = await store.old_files(1025)
    return {name: (modtime, await store.old_vector(name)) for name, modtime in times.items()}


def schema(path: Path) -> tuple[int, list[tuple[str, ...]]]:
    with closing(sqlite3.connect(path)) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        return version, db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name").fetchall()


def copies(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.before-upgrade-*"))


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[int, list[tuple[str, ...]]]:
    """The schema of a new database."""
    upgrade(tmp_path / "fresh" / "library.db")
    return schema(tmp_path / "fresh" / "library.db")


async def test_a_new_database_is_made_with_its_folder_and_without_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "not/there?yet#%41" / "library.db"
    async with Store.open(path) as store:
        assert await store.known_files() == {}
    assert schema(path)[0] == len(STEPS)
    assert [entry.name for entry in path.parent.iterdir()] == ["library.db"]


def test_an_upgraded_database_is_opened_again_without_another_copy(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    old_database(path)
    upgrade(path)
    before = path.read_bytes()
    upgrade(path)
    assert path.read_bytes() == before
    assert len(copies(path)) == 1


async def test_the_first_implementations_database_keeps_every_vector_and_a_copy_of_itself(
    tmp_path: Path, fresh: tuple[int, list[tuple[str, ...]]]
) -> None:
    path = tmp_path / "library.db"
    vectors = old_database(path, 500)
    async with Store.open(path) as store:
        assert await old_vectors(store) == vectors
        assert await store.known_files() == {}
    assert schema(path) == fresh
    (copy,) = copies(path)
    assert schema(copy)[1][0][3] == OLD_TABLE
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT count(*) FROM files").fetchone()[0] == 501
        kept = db.execute("SELECT filename, modtime, embedding_vector FROM files WHERE embedding_vector IS NOT NULL")
        assert {name: (modtime, vector) for name, modtime, vector in kept} == vectors


@pytest.mark.parametrize("step", range(len(STEPS) + 1))
def test_every_step_of_the_stair_leads_to_the_schema_of_a_new_database(
    tmp_path: Path, step: int, fresh: tuple[int, list[tuple[str, ...]]]
) -> None:
    path = tmp_path / "library.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for take in STEPS[:step]:
            take(db)
        db.execute(f"PRAGMA user_version = {step}")
    upgrade(path)
    assert schema(path) == fresh


KILLED_AT = """
import os, signal, sqlite3, sys
from functools import partial
from pathlib import Path
from memesearch.library.migrations import upgrade

class Connection(sqlite3.Connection):
    def execute(self, statement, *parameters):
        if statement.lstrip().startswith(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(statement, *parameters)

sqlite3.connect = partial(sqlite3.connect, factory=Connection)
upgrade(Path(sys.argv[1]))
"""


def upgrade_until_killed(path: Path, statement: str) -> None:
    """Upgrade in a process that is killed when it is about to execute `statement`."""
    ended = subprocess.run([sys.executable, "-c", KILLED_AT, str(path), statement], cwd=PROJECT, check=False)
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    "statement",
    ["PRAGMA journal_mode", "BEGIN IMMEDIATE", "CREATE TABLE contents", "DROP TABLE files_before", "COMMIT"],
)
async def test_an_upgrade_that_is_killed_is_done_again_and_loses_nothing(
    tmp_path: Path, statement: str, fresh: tuple[int, list[tuple[str, ...]]]
) -> None:
    path = tmp_path / "library.db"
    vectors = old_database(path, 4000)  # more than SQLite keeps in memory, so that the file is half written
    upgrade_until_killed(path, statement)
    assert schema(path)[0] == 0
    async with Store.open(path) as store:
        assert await old_vectors(store) == vectors
    assert schema(path) == fresh


async def test_old_rows_without_a_time_do_not_stop_the_upgrade(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute(OLD_TABLE)
        db.execute("INSERT INTO files VALUES ('timeless.png', NULL, ?)", (bytes(1025),))
        db.commit()
    async with Store.open(path) as store:
        assert await store.old_files(1025) == {"timeless.png": 0.0}


async def refusal(path: Path) -> str:
    """Why the database at `path` is refused: one sentence that names it."""
    with pytest.raises(ConfigError) as caught:
        async with Store.open(path):
            pass
    sentence = str(caught.value)
    assert sentence.startswith(f"{path}: ")
    assert "\n" not in sentence
    return sentence


async def test_a_newer_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    upgrade(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE of_the_future (a)")
        db.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    before = path.read_bytes()
    assert "was made by a newer version" in await refusal(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


async def test_another_programs_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE files (id INTEGER PRIMARY KEY, name TEXT)")
    before = path.read_bytes()
    assert "a table `files` of an unknown shape" in await refusal(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["short", "a diary, not a database\n" * 500])
async def test_text_is_refused_and_left_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "library.db"
    path.write_text(text)
    assert "file is not a database" in await refusal(path)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


async def test_half_a_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "library.db"
    upgrade(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "malformed" in await refusal(path)


async def test_places_where_no_database_can_be_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.db").mkdir()
    (tmp_path / "file").touch()
    assert "unable to open database file" in await refusal(tmp_path / "folder.db")
    assert "File exists" in await refusal(tmp_path / "file" / "library.db")


async def test_searches_do_not_wait_for_what_reads_whole_tables(tmp_path: Path) -> None:
    life, go_on = Life(tmp_path), threading.Event()

    def takes_its_time() -> int:
        assert go_on.wait(60)
        return 0

    async with life.store() as store:
        await life.add(store, named("a", 20))
        await store._patient.set_progress_handler(takes_its_time, 1)
        whole = [store.counts(), store.vector_count(life.model), store.changes_left(0), store.known_files()]
        asked = [asyncio.create_task(one) for one in whole]  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(20):
                assert len(await store.hits([1, 2])) == 2
                assert await store.content_at("a/0.png") == 1
                await life.add(store, named("b", 5))
            assert not any(one.done() for one in asked)
        finally:
            go_on.set()
        counts, vectors, _, files = await asyncio.gather(*asked)
        assert counts["files"] in (20, 25)
        assert vectors in (20, 25)
        assert len(files) in (20, 25)
