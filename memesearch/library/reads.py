"""What is asked of the library's database: every reading statement, on a connection that cannot write."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite
import msgspec

from memesearch.errors import Unavailable
from memesearch.library.records import FileStat, Hit

Changes = tuple[int, list[int], list[tuple[int, int, bytes]]]


class Reads:
    """The reading half of the store."""

    def __init__(self, reader: aiosqlite.Connection) -> None:
        self._reader = reader

    async def _rows(self, sql: str, parameters: Iterable[Any] = ()) -> list[Any]:
        try:
            return list(await self._reader.execute_fetchall(sql, tuple(parameters)))
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the database cannot be read: {error}") from error

    async def known_files(self) -> dict[str, FileStat]:
        """Each file that is linked or has failed, by path, with the time and size that it had then."""
        rows = await self._rows(
            "SELECT path, mtime_ns, size FROM files UNION ALL SELECT path, mtime_ns, size FROM failures"
        )
        return {path: FileStat(path, mtime_ns, size) for path, mtime_ns, size in rows}

    async def active_model(self) -> tuple[int, str, int] | None:
        """(number, model_id, dimensions) of the model whose vectors are searched; None before the first."""
        rows = await self._rows(
            "SELECT models.id, model_id, dimensions FROM settings JOIN models ON models.id = value"
            " WHERE key = 'active_model'"
        )
        return tuple(rows[0]) if rows else None

    async def content_of(self, digest: bytes, model: int) -> int | None:
        """The content with this hash if `model` has vectors of it."""
        rows = await self._rows(
            "SELECT id FROM contents WHERE hash = ? AND EXISTS"
            " (SELECT 1 FROM vectors WHERE content_id = contents.id AND model = ?)",
            (digest, model),
        )
        return int(rows[0][0]) if rows else None

    async def files_without_vectors(self, model: int) -> list[FileStat]:
        """Files of contents that `model` has not embedded, and files that only other models have refused."""
        rows = await self._rows(
            "SELECT path, mtime_ns, size FROM files WHERE content_id NOT IN"
            " (SELECT content_id FROM vectors WHERE model = ?1)"
            " AND path NOT IN (SELECT path FROM failures WHERE model IS NULL OR model = ?1)"
            " UNION SELECT path, mtime_ns, size FROM failures WHERE model != ?1",
            (model,),
        )
        return [FileStat(*row) for row in rows]

    async def old_files(self, vector_bytes: int) -> dict[str, float]:
        """filename: modtime of the old database's vectors of this size that are not yet matched with a file."""
        rows = await self._rows("SELECT filename, modtime FROM old_vectors WHERE length(vector) = ?", (vector_bytes,))
        return dict(rows)

    async def old_vector(self, filename: str) -> bytes:
        rows = await self._rows("SELECT vector FROM old_vectors WHERE filename = ?", (filename,))
        return bytes(rows[0][0])

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

    async def hits(self, content_ids: Sequence[int]) -> dict[int, Hit]:
        """The pictures behind contents that still have files."""
        rows = await self._rows(
            "SELECT contents.id, hash, files.path, width, height, colour, text FROM json_each(?) AS wanted"
            " JOIN contents ON contents.id = wanted.value JOIN files ON files.content_id = contents.id"
            " ORDER BY files.path",
            (msgspec.json.encode(list(content_ids)).decode(),),
        )
        found: dict[int, Hit] = {}
        for content_id, digest, path, *rest in rows:
            if content_id in found:
                found[content_id].files.append(path)
            else:
                found[content_id] = Hit(content_id, digest, [path], *rest)
        return found

    async def content_at(self, path: str) -> int | None:
        rows = await self._rows("SELECT content_id FROM files WHERE path = ?", (path,))
        return int(rows[0][0]) if rows else None

    async def file_at(self, path: str) -> tuple[bytes, int, int] | None:
        """(hash, mtime_ns, size) of an indexed file."""
        rows = await self._rows(
            "SELECT hash, mtime_ns, size FROM files JOIN contents ON contents.id = content_id WHERE path = ?", (path,)
        )
        return tuple(rows[0]) if rows else None

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

    async def contents_between(self, low: bytes, high: bytes) -> list[tuple[bytes, str]]:
        """(hash, one file) of the contents in use whose hash is at least `low` and below `high`."""
        rows = await self._rows(
            "SELECT hash, (SELECT min(path) FROM files WHERE content_id = contents.id) FROM contents"
            " WHERE hash >= ? AND hash < ? AND unused_since IS NULL ORDER BY hash",
            (low, high),
        )
        return [(row[0], row[1]) for row in rows if row[1] is not None]

    async def unread(self, after: int, limit: int) -> list[tuple[int, bytes, str]]:
        """Contents with an id above `after` whose text nobody has read yet: (id, hash, one file), by id."""
        rows = await self._rows(
            "SELECT contents.id, hash, min(path) FROM contents JOIN files ON content_id = contents.id"
            " WHERE text IS NULL AND contents.id > ? GROUP BY contents.id ORDER BY contents.id LIMIT ?",
            (after, limit),
        )
        return [tuple(row) for row in rows]
