"""The stair of database schemas: each step upgrades from the one before, in one transaction.

`PRAGMA user_version` holds the step reached. Step 1 also takes over the database of the first
implementation: `files(filename, modtime, embedding_vector)`.
"""

import contextlib
import logging
import shutil
import sqlite3
import time
from pathlib import Path

from memesearch.errors import ConfigError

log = logging.getLogger(__name__)
PAGE_BYTES = 16384  # a vector of 1152 numbers needs no overflow page, which would double the file

SCHEMA_1 = """
CREATE TABLE contents (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,      -- BLAKE2b-128 of the file's bytes
    kind TEXT NOT NULL,             -- 'image' or 'animation'
    width INTEGER NOT NULL,         -- pixels, after the EXIF orientation
    height INTEGER NOT NULL,
    frames INTEGER NOT NULL,
    colour TEXT,                    -- dominant, '#rrggbb'
    taken_at TEXT,                  -- ISO 8601, local time of the camera
    place TEXT,                     -- 'latitude,longitude' in degrees
    text TEXT,                      -- read from the picture; NULL: not read yet
    unused_since REAL               -- when the last file with this content went; NULL: in use
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,      -- relative to the library's folder, '/' between its parts
    mtime_ns INTEGER NOT NULL,
    size INTEGER NOT NULL,
    content_id INTEGER NOT NULL REFERENCES contents(id)
);
CREATE INDEX files_by_content ON files(content_id);
CREATE INDEX files_by_time ON files(mtime_ns);
CREATE TABLE models (id INTEGER PRIMARY KEY, model_id TEXT NOT NULL UNIQUE, dimensions INTEGER NOT NULL);
CREATE TABLE vectors (
    content_id INTEGER NOT NULL REFERENCES contents(id),
    model INTEGER NOT NULL REFERENCES models(id),
    part INTEGER NOT NULL,          -- number of the frame among those embedded
    vector BLOB NOT NULL,           -- little-endian float16, unit norm
    PRIMARY KEY (model, content_id, part)
) WITHOUT ROWID;
CREATE TABLE failures (
    path TEXT PRIMARY KEY, mtime_ns INTEGER NOT NULL, size INTEGER NOT NULL,
    reason TEXT NOT NULL, at REAL NOT NULL
);
CREATE TABLE changes (              -- which contents to look at again; a new row replaces the older one
    seq INTEGER PRIMARY KEY AUTOINCREMENT, content_id INTEGER NOT NULL UNIQUE
);
CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE old_vectors (filename TEXT PRIMARY KEY, modtime REAL NOT NULL, vector BLOB NOT NULL);
CREATE VIRTUAL TABLE words USING fts5(text, name, folder, tokenize = 'unicode61 remove_diacritics 2');
CREATE VIRTUAL TABLE trigrams USING fts5(text, name, tokenize = 'trigram');
"""


def columns_of_files(db: sqlite3.Connection) -> set[str]:
    return {row[1] for row in db.execute("PRAGMA table_info(files)")}


def is_another_programs(db: sqlite3.Connection) -> bool:
    """Whether a database without a version has a table `files` that the first implementation did not make."""
    columns = columns_of_files(db)
    return bool(columns) and not {"filename", "modtime", "embedding_vector"} <= columns


def step_1(db: sqlite3.Connection) -> None:
    """The first schema; vectors of an old database wait in `old_vectors` until their file is seen again."""
    old = bool(columns_of_files(db))
    if old:
        db.execute("ALTER TABLE files RENAME TO files_before")
    for statement in SCHEMA_1.split(";\n"):
        if statement.strip():
            db.execute(statement)
    if old:
        db.execute(
            "INSERT INTO old_vectors SELECT filename, coalesce(modtime, 0), embedding_vector FROM files_before"
            " WHERE embedding_vector IS NOT NULL"
        )
        db.execute("DROP TABLE files_before")


def step_2(db: sqlite3.Connection) -> None:
    """Contents that nothing uses any more are deleted without reading all vectors."""
    db.execute("CREATE INDEX vectors_by_content ON vectors(content_id)")


def step_3(db: sqlite3.Connection) -> None:
    """A picture that one model refuses is not refused by all."""
    db.execute("ALTER TABLE failures ADD COLUMN model INTEGER REFERENCES models(id)")


def step_4(db: sqlite3.Connection) -> None:
    """What an index that is kept on disk has followed can be told from the history of another copy of this file."""
    db.execute("CREATE TABLE openings (id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, seq INTEGER NOT NULL)")


STEPS = [step_1, step_2, step_3, step_4]


def upgrade(path: Path) -> None:
    """Bring the database at `path` to the newest schema; a copy is kept beside one that holds data.

    Raises:
        ConfigError: the file is no database, is another program's, or a newer version made it; it is left as it was.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            climb(db, path)
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{path}: cannot be used as a database: {error}") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be used as a database: {error.strerror}") from error


def climb(db: sqlite3.Connection, path: Path) -> None:
    """Take the steps that are left, all in one transaction."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(STEPS):
        raise ConfigError(
            f"{path}: was made by a newer version (schema {version}, this program knows {len(STEPS)}); "
            "update the program or choose another `db_path`"
        )
    if version == 0 and is_another_programs(db):
        raise ConfigError(f"{path}: has a table `files` of an unknown shape; choose another `db_path`")
    db.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # of a new file; others keep theirs
    db.execute("PRAGMA journal_mode = WAL")
    if version == len(STEPS):
        return
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        back_up(db, path, version)
    db.execute("BEGIN IMMEDIATE")
    for number, step in enumerate(STEPS[version:], start=version + 1):
        step(db)
        db.execute(f"PRAGMA user_version = {number}")
    db.execute("COMMIT")


def back_up(db: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the database beside itself before its first change."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    copy = path.with_name(f"{path.name}.before-upgrade-{version}-{stamp}")
    needed, free = path.stat().st_size, shutil.disk_usage(path.parent).free
    if needed > free:
        raise ConfigError(f"{path}: no room for a copy before its upgrade ({needed:,} bytes needed, {free:,} free)")
    with sqlite3.connect(copy) as target:
        db.backup(target)
    target.close()
    log.info("the database is upgraded from schema %d; a copy of the old one is %s", version, copy)
