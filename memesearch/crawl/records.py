"""The tables `posts` and `last_crawl`: what was looked at already, and where each source stopped.

`posts` holds a row for each picture of a post. Outcomes: `stored`, `duplicate` (the same bytes were stored before, as
`file`), `adult`, `deleted`, `empty` (no picture in it), `refused` (never to be had), `failed` (worth another try).
"""

import sqlite3
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

TRIES = 3  # runs in which a picture is asked for


class Database(Protocol):
    """What this module needs of the rater's database."""

    def transaction(self) -> AbstractContextManager[sqlite3.Connection]: ...

    def reading(self) -> AbstractContextManager[sqlite3.Connection]: ...


class Position(msgspec.Struct):
    """Where a source stopped.

    Attributes:
        unfinished: a pass was broken off, so a page of known posts is not the end of what is new.
        cursor: of the page it was broken off at.
        not_before: seconds since 1970 until which the source wants to be left alone.
    """

    unfinished: bool = False
    cursor: str | None = None
    not_before: float = 0.0


class Records:
    def __init__(self, database: Database, adult_too: bool) -> None:
        self._database = database
        self._adult_too = adult_too  # what was passed over as adult is looked at again

    def settled(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys that are not worth another look."""
        found = set()
        with self._database.reading() as db:
            for key in keys:
                row = db.execute("SELECT outcome, tries FROM posts WHERE key = ?", (key,)).fetchone()
                if row is None or (row[0] == "failed" and row[1] < TRIES) or (row[0] == "adult" and self._adult_too):
                    continue
                found.add(key)
        return found

    def same(self, digest: bytes) -> str | None:
        """The file that was stored with these bytes, wherever it is now."""
        query = "SELECT file FROM posts WHERE hash = ? AND outcome = 'stored'"
        with self._database.reading() as db:
            row = db.execute(query, (digest,)).fetchone()
        return None if row is None else str(row[0])

    def note(self, key: str, source: str, outcome: str, file: str | None = None, digest: bytes | None = None) -> None:
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO posts(key, source, outcome, file, hash, at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (key) DO UPDATE SET outcome = excluded.outcome, file = excluded.file,"
                " hash = excluded.hash, at = excluded.at, tries = tries + 1",
                (key, source, outcome, file, digest, time.time()),
            )

    def owes(self, source: str) -> bool:
        """Whether pictures of this source failed that are worth another try."""
        query = "SELECT 1 FROM posts WHERE outcome = 'failed' AND tries < ? AND source = ? LIMIT 1"
        with self._database.reading() as db:
            return db.execute(query, (TRIES, source)).fetchone() is not None

    def missed(self, source: str, since: float) -> None:
        """After a whole pass: failed pictures whose posts did not come by count as tried."""
        with self._database.transaction() as db:
            db.execute(
                "UPDATE posts SET tries = tries + 1 WHERE outcome = 'failed' AND source = ? AND at < ?",
                (source, since),
            )

    def position(self, source: str) -> Position:
        with self._database.reading() as db:
            row = db.execute("SELECT position FROM last_crawl WHERE source = ?", (source,)).fetchone()
        try:
            return msgspec.json.decode(row[0], type=Position) if row and row[0] else Position()
        except msgspec.DecodeError:  # another program's: begin at the top
            return Position(unfinished=True)

    def save(self, source: str, position: Position) -> None:
        text = msgspec.json.encode(position).decode()
        with self._database.transaction() as db:
            db.execute(
                "INSERT INTO last_crawl(time, source, position) VALUES (?, ?, ?)"
                " ON CONFLICT (source) DO UPDATE SET time = excluded.time, position = excluded.position",
                (time.time(), source, text),
            )
