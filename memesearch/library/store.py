"""Every statement that changes the library's database (SQLite, WAL), on one writer connection; reads.py has the others.

The schema is explained in migrations.py. Whatever changes what is searchable touches `changes`
in the same transaction, so that the index can be brought up to date from any earlier point.
"""

import logging
import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from memesearch.errors import Unavailable
from memesearch.library.migrations import upgrade
from memesearch.library.reads import Reads
from memesearch.library.records import Content, Failure, FileStat
from memesearch.library.rows import index_words, link, purge, unlink, unlink_changed

log = logging.getLogger(__name__)
KEEP_UNUSED_SECONDS = 30 * 86400  # a folder that comes back (an unmounted disk) costs no embedding
OPENINGS_KEPT = 10_000
NEVER = -(2**63)  # a time that no file has


class Store(Reads):
    """The database. Create with `await Store.open(path)`; methods may be called from many tasks."""

    def __init__(
        self, writer: aiosqlite.Connection, reader: aiosqlite.Connection, patient: aiosqlite.Connection
    ) -> None:
        super().__init__(reader, patient)
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Store"]:
        """Upgrade and open the database. Raises ConfigError when it cannot be used."""
        upgrade(path)
        read_only = f"{path.absolute().as_uri()}?mode=ro"
        async with (
            aiosqlite.connect(path, isolation_level=None) as writer,
            aiosqlite.connect(read_only, uri=True, isolation_level=None) as reader,
            aiosqlite.connect(read_only, uri=True, isolation_level=None) as patient,
        ):
            await writer.execute("PRAGMA synchronous = NORMAL")
            await writer.execute("PRAGMA foreign_keys = ON")
            await writer.execute("PRAGMA busy_timeout = 10000")
            store = cls(writer, reader, patient)
            await store.record_opening()
            yield store

    async def _write(self, work: Any) -> Any:
        """Run `work(sqlite3 connection)` as one transaction on the writer's thread."""

        def transaction(db: sqlite3.Connection) -> Any:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
                return result
            except BaseException:
                if db.in_transaction:  # SQLite has ended it by itself when the disk is full
                    db.execute("ROLLBACK")
                raise

        try:
            # aiosqlite has no public call for "this function, on your thread, with your connection"
            return await self._writer._execute(transaction, self._writer._conn)  # type: ignore[no-untyped-call]
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the database cannot be written: {error}") from error

    async def record_opening(self) -> None:
        """Mark this point of the database's history, see `position`. Without room on the disk it goes on without."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(
                "INSERT INTO openings(token, seq)"
                " SELECT ?, coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'changes'",
                (uuid.uuid4().hex,),
            )
            db.execute("INSERT OR IGNORE INTO settings VALUES ('library', ?)", (uuid.uuid4().hex,))
            db.execute("DELETE FROM openings WHERE id <= (SELECT max(id) FROM openings) - ?", (OPENINGS_KEPT,))

        try:
            await self._write(work)
            self.marked = True
        except Unavailable as error:
            log.warning("%s", error)

    async def model_number(self, model_id: str, dimensions: int) -> int:
        """The number that stands for a model in `vectors`; a new model gets one."""

        def work(db: sqlite3.Connection) -> int:
            db.execute("INSERT OR IGNORE INTO models(model_id, dimensions) VALUES (?, ?)", (model_id, dimensions))
            return int(db.execute("SELECT id FROM models WHERE model_id = ?", (model_id,)).fetchone()[0])

        return int(await self._write(work))

    async def activate_model(self, model: int) -> None:
        await self._write(
            lambda db: db.execute("INSERT OR REPLACE INTO settings VALUES ('active_model', ?)", (str(model),))
        )

    async def add(self, model: int, items: Sequence[tuple[Content, Sequence[bytes], Sequence[FileStat]]]) -> None:
        """Store contents with their vectors (one per part) and files, in one transaction."""

        def work(db: sqlite3.Connection) -> None:
            for content, vectors, files in items:
                row = db.execute(
                    "INSERT INTO contents(hash, kind, width, height, frames, colour, taken_at, place)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(hash) DO UPDATE SET unused_since = NULL"
                    " RETURNING id",
                    msgspec.structs.astuple(content),
                ).fetchone()
                db.executemany(
                    "INSERT OR REPLACE INTO vectors(model, content_id, part, vector) VALUES (?, ?, ?, ?)",
                    [(model, row[0], part, vector) for part, vector in enumerate(vectors)],
                )
                for file in files:
                    link(db, file, row[0])

        await self._write(work)

    async def link(self, pairs: Sequence[tuple[FileStat, int]]) -> None:
        """Say that files hold contents that are known already."""

        def work(db: sqlite3.Connection) -> None:
            for file, content_id in pairs:
                link(db, file, content_id)

        await self._write(work)

    async def remove(self, paths: Sequence[str]) -> None:
        """Forget files that are gone, and contents that nothing has used for a month."""

        def work(db: sqlite3.Connection) -> None:
            for path in paths:
                unlink(db, path)
                db.execute("DELETE FROM failures WHERE path = ?", (path,))
            purge(db, time.time() - KEEP_UNUSED_SECONDS)

        await self._write(work)

    async def fail(self, failures: Sequence[Failure]) -> None:
        """Record why files could not be indexed. A file that is linked as it is now stays so: vectors of another
        model may still find it."""

        def work(db: sqlite3.Connection) -> None:
            for failure in failures:
                file = failure.file
                unlink_changed(db, file)
                time_ns = file.mtime_ns if failure.lasting else NEVER  # so that the next scan takes it for changed
                db.execute(
                    "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                    (file.path, time_ns, file.size, failure.reason, time.time(), failure.model),
                )

        await self._write(work)

    async def set_texts(self, texts: Sequence[tuple[int, str]]) -> None:
        """Store what was read from contents: (content id, text)."""

        def work(db: sqlite3.Connection) -> None:
            for content_id, text in texts:
                db.execute("UPDATE contents SET text = ? WHERE id = ?", (text, content_id))
                for file_id, path in db.execute("SELECT id, path FROM files WHERE content_id = ?", (content_id,)):
                    index_words(db, file_id, path, text)

        await self._write(work)

    async def forget_old_vectors(self, filenames: Sequence[str]) -> None:
        await self._write(
            lambda db: db.executemany("DELETE FROM old_vectors WHERE filename = ?", [(n,) for n in filenames])
        )
