"""The rater's database: what the first implementation left in it, and what it says to a file that is none."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from services import rows_of

from memesearch.errors import ConfigError
from memesearch.rater.database import RaterDatabase

OLD = """
CREATE TABLE ratings (meme1, meme2, rating, iteration);
CREATE TABLE queue (meme1, meme2, iteration);
CREATE TABLE library_queue (filename, score);
CREATE TABLE last_crawl (time);
"""


def old_database(path: Path, more: str) -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(OLD + more)
    return path


def copies(path: Path) -> list[Path]:
    return list(path.parent.glob(f"{path.name}.before-upgrade-*"))


def test_the_first_implementations_tables_are_taken_over_and_a_copy_is_kept(tmp_path: Path) -> None:
    path = old_database(
        tmp_path / "rater.db",
        "INSERT INTO ratings VALUES ('a', 'b', '1', '1'), ('b', 'c', 2, 1);"
        " INSERT INTO queue VALUES ('a', 'c', '2'); INSERT INTO library_queue VALUES ('a', 0.5);"
        " INSERT INTO last_crawl VALUES (1700000000)",
    )
    RaterDatabase(path).close()
    assert rows_of(path, "SELECT meme1, meme2, rating, iteration, grade FROM ratings ORDER BY id") == [
        ("a", "b", "1", "1", None),
        ("b", "c", "2", "1", None),
    ]
    assert rows_of(path, "SELECT meme1, meme2, iteration FROM queue") == [("a", "c", "2")]
    assert rows_of(path, "SELECT filename, score, explored FROM library_queue") == [("a", 0.5, 0)]
    assert rows_of(path, "SELECT time, source FROM last_crawl") == [(1700000000.0, None)]
    RaterDatabase(path).close()
    (copy,) = copies(path)
    assert len(rows_of(copy, "SELECT * FROM ratings")) == 2


def test_doubled_rows_and_rows_without_a_name_do_not_stand_in_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = old_database(
        tmp_path / "rater.db",
        "INSERT INTO ratings VALUES ('a', 'b', '1', '1'), ('a', 'b', '2', '1'), (NULL, 'b', '1', '1');"
        " INSERT INTO queue VALUES ('a', 'c', '2'), ('a', 'c', '3');"
        " INSERT INTO library_queue VALUES ('a', 0.5), ('a', 0.7), (NULL, 1)",
    )
    RaterDatabase(path).close()
    assert rows_of(path, "SELECT meme1, meme2, rating FROM ratings ORDER BY id") == [("a", "b", "1"), ("a", "b", "2")]
    assert rows_of(path, "SELECT meme1, meme2, iteration FROM queue") == [("a", "c", "2")]
    assert rows_of(path, "SELECT filename, score FROM library_queue") == [("a", 0.5)]
    assert "2 rows of `library_queue`" in caplog.text
    (copy,) = copies(path)
    assert len(rows_of(copy, "SELECT * FROM library_queue")) == 3


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("CREATE TABLE ratings (meme1, meme2, rating)", "`ratings` has no column `iteration`"),
        ("CREATE TABLE files (filename)", "another program's tables"),
        ("PRAGMA user_version = 99", "newer version"),
    ],
)
def test_a_database_of_something_else_is_left_as_it_was(tmp_path: Path, script: str, words: str) -> None:
    path = tmp_path / "rater.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(script)
    before = rows_of(path, "SELECT sql FROM sqlite_master")
    with pytest.raises(ConfigError, match=words):
        RaterDatabase(path)
    assert rows_of(path, "SELECT sql FROM sqlite_master") == before


def test_statistics_that_sqlite_keeps_are_no_other_programs_tables(tmp_path: Path) -> None:
    path = old_database(tmp_path / "rater.db", "INSERT INTO ratings VALUES ('a', 'b', '1', '1')")
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE INDEX first ON ratings(meme1); ANALYZE")
    RaterDatabase(path).close()
    assert rows_of(path, "SELECT meme1, rating FROM ratings") == [("a", "1")]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rater.db"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="cannot be used as the rater's database"):
        RaterDatabase(path)
    assert path.read_bytes() == b"no database" * 100
