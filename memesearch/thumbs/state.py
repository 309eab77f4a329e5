"""Which thumbnails there are: a small database beside them, written by who makes them, read by who serves them.

It follows the files and never leads them: a thumbnail is entered once it is in its place, and every run compares
the two.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Container, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec
import PIL

from memesearch.errors import Unavailable
from memesearch.thumbs.formats import BY_NAME, FORMATS

FILE = "thumbnails.db"
BUSY_MILLISECONDS = 10_000
MADE_BY = f"Pillow {PIL.__version__}"  # what this one could not make, another may
SCHEMA = (
    # bits are never given to another format, whatever later versions can make
    "CREATE TABLE IF NOT EXISTS formats (bit INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE)",
    "CREATE TABLE IF NOT EXISTS made (hash BLOB PRIMARY KEY, formats INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS failures (hash BLOB, format TEXT, path TEXT NOT NULL, reason TEXT NOT NULL,"
    " made_by TEXT NOT NULL, PRIMARY KEY (hash, format)) WITHOUT ROWID",
)


class Failure(msgspec.Struct):
    """Why a thumbnail cannot be made. `lasting`: this version need not try again."""

    digest: bytes
    kind: str
    path: str
    reason: str
    lasting: bool


class ThumbnailState:
    """The maker's side: everything about a range of hashes at a time."""

    def __init__(self, db: aiosqlite.Connection, bits: dict[str, int]) -> None:
        self._db, self._bits = db, bits

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator["ThumbnailState"]:
        """Raises Unavailable when the database cannot be used."""
        try:
            async with aiosqlite.connect(folder / FILE, isolation_level=None) as db:
                await db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
                await db.execute("BEGIN IMMEDIATE")  # nobody sees half of it
                for statement in SCHEMA:
                    await db.execute(statement)
                for kind in FORMATS:
                    await db.execute(
                        "INSERT OR IGNORE INTO formats SELECT coalesce(max(bit) + 1, 0), ? FROM formats", (kind.name,)
                    )
                await db.execute("COMMIT")
                rows = await db.execute_fetchall("SELECT name, bit FROM formats")
                yield cls(db, {row[0]: row[1] for row in rows})
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{folder / FILE} cannot be written: {error}") from error
        except sqlite3.DatabaseError as error:
            raise Unavailable(f"{folder / FILE} cannot be used: {error}; delete it and it is made anew") from error

    async def made(self, low: bytes, high: bytes) -> dict[bytes, set[str]]:
        """Formats by hash, for hashes from `low` to below `high`."""
        rows = await self._rows("SELECT hash, formats FROM made WHERE hash >= ? AND hash < ?", (low, high))
        names = self._bits.items()
        return {digest: {name for name, bit in names if value >> bit & 1} for digest, value in rows}

    async def failed(self, low: bytes, high: bytes) -> dict[bytes, set[str]]:
        """Formats that this version failed to make, by hash."""
        found: dict[bytes, set[str]] = {}
        rows = await self._rows(
            "SELECT hash, format FROM failures WHERE hash >= ? AND hash < ? AND made_by = ?", (low, high, MADE_BY)
        )
        for digest, name in rows:
            found.setdefault(digest, set()).add(name)
        return found

    async def failures(self) -> list[tuple[str, str, str]]:
        """(path, format, reason) of everything that could not be made, by this version or in the last run."""
        sql = "SELECT path, format, reason FROM failures WHERE made_by IN (?, '') ORDER BY path, format"
        return [tuple(row) for row in await self._rows(sql, (MADE_BY,))]

    async def put(self, made: dict[bytes, set[str]], failures: Sequence[Failure] = ()) -> None:
        """Say which formats there are of these hashes; of none, the hash is forgotten."""
        await self._db.execute("BEGIN IMMEDIATE")
        gone = [(digest,) for digest, names in made.items() if not names]
        there = [(digest, self._value(names)) for digest, names in made.items() if names]
        await self._db.executemany("INSERT OR REPLACE INTO made VALUES (?, ?)", there)
        await self._db.executemany("DELETE FROM made WHERE hash = ?", gone)
        await self._db.executemany(
            "DELETE FROM failures WHERE hash = ? AND format = ?",
            [(digest, name) for digest, names in made.items() for name in names],
        )
        await self._db.executemany(
            "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
            [(f.digest, f.kind, f.path, f.reason, MADE_BY if f.lasting else "") for f in failures],
        )
        await self._db.execute("COMMIT")

    async def forget_failures(self, low: bytes, high: bytes, pictures: Container[bytes]) -> None:
        """Of pictures that are gone, in a range of hashes."""
        rows = await self._rows("SELECT DISTINCT hash FROM failures WHERE hash >= ? AND hash < ?", (low, high))
        gone = [(digest,) for (digest,) in rows if digest not in pictures]
        await self._db.executemany("DELETE FROM failures WHERE hash = ?", gone)

    def _value(self, names: Iterable[str]) -> int:
        return sum(1 << self._bits[name] for name in names if name in self._bits)

    async def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        return list(await self._db.execute_fetchall(sql, parameters))


class Offer(msgspec.Struct):
    """What may be offered: the names of the formats, and for each hash a number whose bit i stands for format i."""

    formats: list[str] = []
    bits: dict[bytes, int] = {}

    @property
    def extensions(self) -> dict[str, str]:
        """Of the formats that this version knows, by name."""
        return {name: BY_NAME[name].extension for name in self.formats if name in BY_NAME}


async def offer(folder: Path | None, digests: Sequence[bytes]) -> Offer:
    """The server's side: which thumbnails there are of these pictures; without a database, none.

    The database is opened for each question, for it may be deleted and made anew at any time.
    """
    return Offer() if folder is None else await asyncio.to_thread(read_offer, folder / FILE, digests)


def read_offer(path: Path, digests: Sequence[bytes]) -> Offer:
    marks = ",".join("?" * len(digests))
    try:  # not read-only: after a kill of its writer the first reader has to repair it
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=1)) as db:
            db.execute("BEGIN")
            formats = db.execute("SELECT bit, name FROM formats ORDER BY bit").fetchall()
            made = db.execute(f"SELECT hash, formats FROM made WHERE hash IN ({marks})", digests).fetchall()
    except sqlite3.Error:  # not there, or being made at this moment: pictures are shown without thumbnails
        return Offer()
    return Offer([name for _, name in formats], dict(made))
