"""Every statement on the library's database (SQLite, WAL): one writer connection, one reader.

The schema is explained in migrations.py. Whatever changes what is searchable touches `changes`
in the same transaction, so that the index can be brought up to date from any earlier point.
"""

import sqlite3
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiosqlite
import msgspec

from memesearch.errors import Unavailable
from memesearch.library.migrations import upgrade
from memesearch.library.records import Content, FileStat, Hit
from memesearch.library.rows import index_words, link, purge, unlink, unlink_changed

KEEP_UNUSED_SECONDS = 30 * 86400  # a folder that comes back (an unmounted disk) costs no embedding


Changes = tuple[int, list[int], list[tuple[int, int, bytes]]]


class Store:
    """The database. Create with `await Store.open(path)`; methods may be called from many tasks."""

    def __init__(self, writer: aiosqlite.Connection, reader: aiosqlite.Connection) -> None:
        self._writer = writer
        self._reader = reader

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator["Store"]:
        """Upgrade and open the database. Raises ConfigError when it cannot be used."""
        upgrade(path)
        async with (
            aiosqlite.connect(path, isolation_level=None) as writer,
            aiosqlite.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None) as reader,
        ):
            await writer.execute("PRAGMA synchronous = NORMAL")
            await writer.execute("PRAGMA foreign_keys = ON")
            await writer.execute("PRAGMA busy_timeout = 10000")
            yield cls(writer, reader)

    async def _rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        return list(await self._reader.execute_fetchall(sql, tuple(parameters)))

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

    # What is known

    async def known_files(self) -> dict[str, FileStat]:
        """Each file that is linked or has failed, by path."""
        rows = await self._rows(
            "SELECT path, mtime_ns, size FROM files UNION ALL SELECT path, mtime_ns, size FROM failures"
        )
        return {path: FileStat(path, mtime_ns, size) for path, mtime_ns, size in rows}

    async def model_number(self, model_id: str, dimensions: int) -> int:
        """The number that stands for a model in `vectors`; a new model gets one."""

        def work(db: sqlite3.Connection) -> int:
            db.execute("INSERT OR IGNORE INTO models(model_id, dimensions) VALUES (?, ?)", (model_id, dimensions))
            return int(db.execute("SELECT id FROM models WHERE model_id = ?", (model_id,)).fetchone()[0])

        return int(await self._write(work))

    async def active_model(self) -> tuple[int, str, int] | None:
        """(number, model_id, dimensions) of the model whose vectors are searched; None before the first."""
        rows = await self._rows(
            "SELECT models.id, model_id, dimensions FROM settings JOIN models ON models.id = value"
            " WHERE key = 'active_model'"
        )
        return tuple(rows[0]) if rows else None

    async def activate_model(self, model: int) -> None:
        await self._write(
            lambda db: db.execute("INSERT OR REPLACE INTO settings VALUES ('active_model', ?)", (str(model),))
        )

    async def content_of(self, digest: bytes, model: int) -> int | None:
        """The content with this hash if `model` has vectors of it."""
        rows = await self._rows(
            "SELECT id FROM contents WHERE hash = ? AND EXISTS"
            " (SELECT 1 FROM vectors WHERE content_id = contents.id AND model = ?)",
            (digest, model),
        )
        return int(rows[0][0]) if rows else None

    async def files_without_vectors(self, model: int) -> list[FileStat]:
        """The files of contents that `model` has not embedded, without those that have failed."""
        rows = await self._rows(
            "SELECT path, mtime_ns, size FROM files WHERE content_id NOT IN"
            " (SELECT content_id FROM vectors WHERE model = ?) AND path NOT IN (SELECT path FROM failures)",
            (model,),
        )
        return [FileStat(*row) for row in rows]

    # Changes

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

    async def fail(self, failures: Sequence[tuple[FileStat, str]]) -> None:
        """Record why files could not be indexed; they are not tried again until they change.

        A file that is linked as it is now stays so: vectors of another model may still find it.
        """

        def work(db: sqlite3.Connection) -> None:
            for file, reason in failures:
                unlink_changed(db, file)
                db.execute(
                    "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
                    (file.path, file.mtime_ns, file.size, reason, time.time()),
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

    # The first implementation's vectors

    async def old_files(self, vector_bytes: int) -> dict[str, float]:
        """filename: modtime of the old database's vectors of this size that are not yet matched with a file."""
        rows = await self._rows("SELECT filename, modtime FROM old_vectors WHERE length(vector) = ?", (vector_bytes,))
        return dict(rows)

    async def old_vector(self, filename: str) -> bytes:
        rows = await self._rows("SELECT vector FROM old_vectors WHERE filename = ?", (filename,))
        return bytes(rows[0][0])

    async def forget_old_vectors(self, filenames: Sequence[str]) -> None:
        await self._write(
            lambda db: db.executemany("DELETE FROM old_vectors WHERE filename = ?", [(n,) for n in filenames])
        )

    # For the index

    async def changes_after(self, seq: int, model: int, limit: int) -> Changes:
        """What happened after `seq`, at most `limit` contents of it.

        Returns:
            The sequence number reached; the contents touched; the (content id, part, vector) that are
            searchable for `model` among them now.
        """
        touched = await self._rows(
            "SELECT seq, content_id FROM changes WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        if not touched:
            return seq, [], []
        vectors = await self._rows(
            "SELECT content_id, part, vector FROM changes JOIN vectors USING (content_id)"
            " WHERE seq > ? AND seq <= ? AND model = ?"
            " AND EXISTS (SELECT 1 FROM files WHERE files.content_id = changes.content_id) ORDER BY seq, part",
            (seq, touched[-1][0], model),
        )
        return touched[-1][0], [row[1] for row in touched], [tuple(row) for row in vectors]

    # For answers

    async def hits(self, content_ids: Sequence[int]) -> dict[int, Hit]:
        """The pictures behind contents that still have files."""
        rows = await self._rows(
            "SELECT contents.id, files.path, width, height, colour, text FROM json_each(?) AS wanted"
            " JOIN contents ON contents.id = wanted.value JOIN files ON files.content_id = contents.id"
            " ORDER BY files.path",
            (msgspec.json.encode(list(content_ids)).decode(),),
        )
        found: dict[int, Hit] = {}
        for content_id, path, *rest in rows:
            if content_id in found:
                found[content_id].files.append(path)
            else:
                found[content_id] = Hit(content_id, [path], *rest)
        return found

    async def content_at(self, path: str) -> int | None:
        rows = await self._rows("SELECT content_id FROM files WHERE path = ?", (path,))
        return int(rows[0][0]) if rows else None

    async def vectors_of(self, content_id: int, model: int) -> list[bytes]:
        rows = await self._rows(
            "SELECT vector FROM vectors WHERE model = ? AND content_id = ? ORDER BY part", (model, content_id)
        )
        return [row[0] for row in rows]

    async def newest(self, limit: int, offset: int) -> list[int]:
        """Contents by the time their file was changed last, the newest first."""
        rows = await self._rows(
            "SELECT content_id FROM files GROUP BY content_id ORDER BY max(mtime_ns) DESC, content_id LIMIT ? OFFSET ?",
            (limit, offset),
        )
        return [row[0] for row in rows]

    async def match_words(self, table: str, expression: str, limit: int) -> list[int]:
        """Contents whose words match an FTS5 expression, best first by BM25. `table`: words or trigrams."""
        weights = {"words": "4.0, 2.0, 1.0", "trigrams": "4.0, 2.0"}[table]
        rows = await self._rows(
            f"SELECT content_id FROM {table} JOIN files ON files.id = {table}.rowid"
            f" WHERE {table} MATCH ? ORDER BY bm25({table}, {weights}), files.id LIMIT ?",
            (expression, limit),
        )
        return list(dict.fromkeys(row[0] for row in rows))

    async def counts(self) -> dict[str, int]:
        """How many files, contents in use, failures, and contents whose text is read."""
        rows = await self._rows(
            "SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM contents WHERE unused_since IS NULL),"
            " (SELECT count(*) FROM failures),"
            " (SELECT count(*) FROM contents WHERE unused_since IS NULL AND text IS NOT NULL)"
        )
        return dict(zip(("files", "contents", "failures", "texts"), rows[0], strict=True))

    async def failures(self, limit: int, offset: int) -> list[tuple[str, str, float]]:
        rows = await self._rows(
            "SELECT path, reason, at FROM failures ORDER BY at DESC, path LIMIT ? OFFSET ?", (limit, offset)
        )
        return [tuple(row) for row in rows]

    async def unread(self, after: int, limit: int) -> list[tuple[int, bytes, str]]:
        """Contents with an id above `after` whose text nobody has read yet: (id, hash, one file), by id."""
        rows = await self._rows(
            "SELECT contents.id, hash, min(path) FROM contents JOIN files ON content_id = contents.id"
            " WHERE text IS NULL AND contents.id > ? GROUP BY contents.id ORDER BY contents.id LIMIT ?",
            (after, limit),
        )
        return [tuple(row) for row in rows]
