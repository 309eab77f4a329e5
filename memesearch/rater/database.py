"""The rater's database: one SQLite file that every program of `meme-rater/` opens for itself.

`ratings`, `queue`, `library_queue` and `last_crawl` can be read (and their first columns written) by other programs.
The statements on a table are in the module whose job it is.
"""

import contextlib
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from memesearch.errors import ConfigError, Unavailable
from memesearch.file_lock import FileLock, Taken
from memesearch.library.migrations import back_up

log = logging.getLogger(__name__)

TABLES = """
CREATE TABLE ratings (
    id INTEGER PRIMARY KEY,
    meme1 TEXT NOT NULL, meme2 TEXT NOT NULL,   -- paths relative to the folder of pictures
    rating TEXT NOT NULL,       -- '1': meme1 is better, '2': meme2 is, '=': neither
    iteration TEXT,
    grade INTEGER,              -- 2 much better, 1 better, 0 equal; NULL: only the side was told
    reason TEXT,                -- why this pair was shown
    at REAL
);
CREATE TABLE dimension_ratings (
    id INTEGER PRIMARY KEY, dimension TEXT NOT NULL, answer INTEGER NOT NULL REFERENCES ratings(id),
    rating TEXT NOT NULL, grade INTEGER, at REAL
);
CREATE TABLE queue (meme1 TEXT NOT NULL, meme2 TEXT NOT NULL, iteration TEXT, reason TEXT, PRIMARY KEY (meme1, meme2));
CREATE TABLE offers (           -- pairs that were shown or are about to be; what makes an answer count once
    token TEXT PRIMARY KEY,
    meme1 TEXT NOT NULL, meme2 TEXT NOT NULL, iteration TEXT, reason TEXT,
    queued INTEGER NOT NULL,    -- came from `queue`
    place REAL NOT NULL,        -- the lowest open one is shown next
    state TEXT NOT NULL,        -- open, answered, skipped, gone
    answer INTEGER REFERENCES ratings(id),
    guess REAL,                 -- score of meme1 minus that of meme2, by a model that had not seen the answer
    done REAL                   -- when it was answered, skipped or found gone
);
CREATE TABLE library_queue (
    filename TEXT PRIMARY KEY NOT NULL, score REAL,
    keep REAL,                  -- P(keep) when it was queued
    explored INTEGER NOT NULL DEFAULT 0,        -- queued by chance, below the threshold
    model TEXT, at REAL,
    later INTEGER NOT NULL DEFAULT 0,           -- how often the person put it off
    hash BLOB,                  -- of the bytes that were scored
    token TEXT NOT NULL DEFAULT (lower(hex(randomblob(16))))    -- what a browser names the row by
);
CREATE TABLE decisions (        -- every keep and discard, stored before anything is moved
    id INTEGER PRIMARY KEY,
    filename TEXT NOT NULL, hash BLOB NOT NULL, kept INTEGER NOT NULL, at REAL NOT NULL,
    target TEXT,                -- relative to the library or the trash; NULL: expired, or gone before it was moved
    tags TEXT NOT NULL DEFAULT '[]',
    keep REAL, explored INTEGER NOT NULL DEFAULT 0, score REAL,     -- as they stood in the queue
    moved INTEGER NOT NULL DEFAULT 0,           -- 1: the file lies at the target, -1: is to be brought back
    model TEXT, token TEXT UNIQUE               -- of the queue's row
);
CREATE TABLE memes (filename TEXT PRIMARY KEY, hash BLOB NOT NULL);     -- what a label's name stood for
CREATE TABLE vectors (          -- of labelled pictures, which stay when the pictures are gone
    hash BLOB NOT NULL, model_id TEXT NOT NULL, vector BLOB NOT NULL, PRIMARY KEY (hash, model_id)
) WITHOUT ROWID;
CREATE TABLE scores (           -- what the pipeline has looked at, and what came of it
    hash BLOB PRIMARY KEY, filename TEXT NOT NULL, model TEXT NOT NULL,
    score REAL NOT NULL, keep REAL NOT NULL,
    outcome TEXT NOT NULL,      -- waiting, below, duplicate, decided, queued, explored
    reason TEXT,                -- what it is a duplicate of
    chance REAL,                -- of being queued: 1 above the threshold, else the share that is explored
    at REAL NOT NULL
);
CREATE TABLE last_crawl (time REAL, source TEXT UNIQUE, position TEXT);
CREATE TABLE posts (            -- never download twice
    key TEXT PRIMARY KEY, source TEXT NOT NULL, outcome TEXT NOT NULL, file TEXT, hash BLOB, at REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 1
);
CREATE INDEX posts_by_hash ON posts(hash);
CREATE TABLE judgements (       -- of the blind pages of eval.py
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, filename TEXT NOT NULL, good INTEGER NOT NULL, at REAL NOT NULL,
    UNIQUE (run, filename)
);
CREATE TABLE judged_pages (     -- what was drawn for them
    run TEXT NOT NULL, place INTEGER NOT NULL,
    page INTEGER NOT NULL, kind TEXT NOT NULL,  -- 'percentiles' or 'random'
    filename TEXT NOT NULL, hash BLOB NOT NULL,
    percentile REAL NOT NULL, model TEXT NOT NULL,      -- of its P(keep) among all pictures, by that checkpoint
    at REAL NOT NULL, PRIMARY KEY (run, place), UNIQUE (run, filename)
) WITHOUT ROWID;
"""
OLD = {  # the tables of the first implementation, and what of them is taken over
    "ratings": ("meme1", "meme2", "rating", "iteration"),
    "queue": ("meme1", "meme2", "iteration"),
    "library_queue": ("filename", "score"),
    "last_crawl": ("time",),
}
SCHEMA = 1
ROOM_BYTES = 64 * 1024


class RaterDatabase:
    """One connection, used by one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; a database of the first implementation is taken over.

        Raises:
            ConfigError: it is no such database, or cannot be made there.
            Unavailable: it cannot be written now.
        """
        self.path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            with self.transaction() as db:
                prepare(db, path)
        except (sqlite3.Error, OSError) as error:
            if is_full(path):
                raise Unavailable(f"{path}: cannot be opened: its disk is full; make room and start again") from error
            raise ConfigError(f"{path}: cannot be used as the rater's database: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; other programs' writes wait meanwhile. Raises Unavailable: the disk is full, say."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:  # SQLite has ended it by itself when the disk is full
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    way_out = "its disk is full; make room and " if is_full(self.path) else ""
                    raise Unavailable(
                        f"{self.path}: cannot be written, nothing was stored, {way_out}try again: {error}"
                    ) from error
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """For statements that change nothing. Raises Unavailable."""
        with self._lock:
            try:
                yield self._db
            except sqlite3.OperationalError as error:
                raise Unavailable(f"{self.path}: cannot be read now, try again: {error}") from error

    def close(self) -> None:
        with self._lock:
            self._db.close()


def only_server(database: Path, kind: str) -> FileLock:
    """Be the only `kind` of server ("rater", "queue") of a database, whatever configuration names it.

    Raises:
        ConfigError: there is another, or the lock cannot be made there.
        Unavailable: the disk is full.
    """
    path = Path(f"{os.path.realpath(database)}.{kind}.lock")  # one database, also where a link leads to it
    try:
        return FileLock(path)
    except Taken as error:
        raise ConfigError(
            f"{database}: has a {kind} server already ({error}); stop that, or choose another `database`"
        ) from error
    except OSError as error:
        if is_full(path):
            raise Unavailable(f"{path}: cannot be made: its disk is full; make room and start again") from error
        raise ConfigError(f"{path}: cannot be made: {error.strerror}") from error


def is_full(path: Path) -> bool:
    """Whether the disk has no room left for the log that SQLite writes beside a database."""
    with contextlib.suppress(OSError):
        disk = os.statvfs(path.parent)
        return disk.f_bavail * disk.f_frsize < ROOM_BYTES
    return False


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables in an empty database, or around what the first implementation left, of which a copy is kept."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version == SCHEMA:
        return
    if version > SCHEMA:
        raise ConfigError(f"{path}: was made by a newer version; update the program or choose another `database`")
    tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    there = {row[0] for row in db.execute(tables)}  # without those of SQLite itself, which ANALYZE makes
    if there - set(OLD):
        raise ConfigError(f"{path}: holds another program's tables; choose another `database`")
    old = sorted(there & set(OLD))
    for table in old:
        if missing := set(OLD[table]) - {row[1] for row in db.execute(f"PRAGMA table_info({table})")}:
            raise ConfigError(
                f"{path}: its table `{table}` has no column `{min(missing)}`, so it is another program's;"
                " choose another `database`"
            )
    if old:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as reader:
            back_up(reader, path, 0)
    for table in old:
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in re.split(r";[ ]*(?:--.*)?\n", TABLES):
        if statement.strip():
            db.execute(statement)
    for table in old:
        take_over(db, path, table)
    db.execute(f"PRAGMA user_version = {SCHEMA}")


def take_over(db: sqlite3.Connection, path: Path, table: str) -> None:
    """Move the rows of an old table. Those that say a thing twice or without a name stay in the copy only."""
    columns = ", ".join(OLD[table])
    total = db.execute(f"SELECT count(*) FROM old_{table}").fetchone()[0]
    taken = db.execute(f"INSERT OR IGNORE INTO {table}({columns}) SELECT {columns} FROM old_{table}").rowcount
    if taken < total:
        log.warning("%s: %d rows of `%s` are doubled or have no name and are left out", path, total - taken, table)
    db.execute(f"DROP TABLE old_{table}")
