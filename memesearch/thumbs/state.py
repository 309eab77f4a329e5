"""Which thumbnails there are: a small database beside them, written by who makes them, read by who serves them.

It follows the files and never leads them: a thumbnail is entered once it is in its place, and every run compares
the two.
"""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
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


class Failure:
    """Why a thumbnail cannot be made."""

    def __init__(self, digest: bytes, kind: str, path: str, reason: str) -> None:
        self.digest, self.kind, self.path, self.reason = digest, kind, path, reason


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
                for statement in SCHEMA:
                    await db.execute(statement)
                for kind in FORMATS:
                    await db.execute(
                        "INSERT OR IGNORE INTO formats SELECT coalesce(max(bit) + 1, 0), ? FROM formats", (kind.name,)
                    )
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
        """(path, format, reason) of everything that this version could not make."""
        sql = "SELECT path, format, reason FROM failures WHERE made_by = ? ORDER BY path, format"
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
            [(failure.digest, failure.kind, failure.path, failure.reason, MADE_BY) for failure in failures],
        )
        await self._db.execute("COMMIT")

    async def forget_failures(self, digests: Iterable[bytes]) -> None:
        """Of pictures that are gone."""
        await self._db.executemany("DELETE FROM failures WHERE hash = ?", [(digest,) for digest in digests])

    def _value(self, names: Iterable[str]) -> int:
        return sum(1 << self._bits[name] for name in names if name in self._bits)

    async def _rows(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        return list(await self._db.execute_fetchall(sql, parameters))


class Shown:
    """The server's side: what may be offered of the pictures in an answer. Without a database, nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._db: aiosqlite.Connection | None = None
        self._opened: tuple[int, int] | None = None
        self.formats: list[str] = []

    @property
    def extensions(self) -> dict[str, str]:
        """Of the formats that this version knows, by name."""
        return {name: BY_NAME[name].extension for name in self.formats if name in BY_NAME}

    async def of(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Bit i of the value says that format i of `formats` is there."""
        if not digests or not await self._refresh():
            return {}
        assert self._db is not None
        marks = ",".join("?" * len(digests))
        try:
            rows = await self._db.execute_fetchall(f"SELECT hash, formats FROM made WHERE hash IN ({marks})", digests)
        except sqlite3.Error:  # being made anew at this moment: pictures are shown without thumbnails
            return {}
        return {row[0]: row[1] for row in rows}

    async def close(self) -> None:
        if self._db is not None:
            await self._db.close()
            self._db, self._opened = None, None

    async def _refresh(self) -> bool:
        """Open the database if there is one, anew if it is another one."""
        if self._folder is None:
            return False
        path = self._folder / FILE
        try:
            info = path.stat()
        except OSError:
            await self.close()
            return False
        if self._opened == (info.st_dev, info.st_ino):
            return True
        await self.close()
        try:
            db = await aiosqlite.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        except sqlite3.Error:
            return False
        try:
            await db.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
            rows = list(await db.execute_fetchall("SELECT bit, name FROM formats ORDER BY bit"))
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                await db.close()
            return False
        self._db, self._opened = db, (info.st_dev, info.st_ino)
        self.formats = [row[1] for row in rows]
        return True
