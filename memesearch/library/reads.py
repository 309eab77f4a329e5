"""What is asked of the library's database: every reading statement, on a connection that cannot write."""

import random
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

import aiosqlite
import msgspec

from memesearch.errors import Unavailable
from memesearch.library.records import FileStat, Filter, Hit, Position

EVERYTHING = Filter()
DRAWS = 20  # of contents, for each that is wanted
WHEN = "coalesce(taken_at, strftime('%Y-%m-%dT%H:%M:%S', mtime_ns / 1000000000, 'unixepoch'))"
Changes = tuple[int, list[int], list[tuple[int, int, bytes]]]


def passing(chosen: Filter) -> tuple[str, list[Any]]:
    """A filter as an expression over a file and its content, with its values; empty when everything passes."""
    tests: list[tuple[str, list[Any]]] = []
    if chosen.folder is not None:  # 0 follows / in ASCII
        tests.append(("files.path >= ? AND files.path < ?", [chosen.folder + "/", chosen.folder + "0"]))
    if chosen.kind is not None:
        tests.append(("kind = ?", [chosen.kind]))
    if chosen.after is not None:
        tests.append((f"{WHEN} >= ?", [chosen.after]))
    if chosen.before is not None:
        tests.append((f"{WHEN} < ?", [chosen.before]))
    return " AND ".join(test for test, _ in tests), [value for _, given in tests for value in given]


def condition(chosen: Filter) -> tuple[str, list[Any]]:
    """A filter as the part of a statement after `FROM files`, with its values."""
    where, values = passing(chosen)
    return f"JOIN contents ON contents.id = content_id WHERE {where}" if where else "", values


class Reads:
    """The reading half of the store: what a search asks, and, on a connection of its own, what reads a whole table.

    Of ten million pictures that takes a second, for which no search is to wait.
    """

    def __init__(self, reader: aiosqlite.Connection, patient: aiosqlite.Connection) -> None:
        self._reader, self._patient = reader, patient
        self.marked = False  # whether this opening is part of the database's history

    async def _rows(self, sql: str, parameters: Iterable[Any] = (), whole: bool = False) -> list[Any]:
        """`whole`: of a table, or much of it."""
        connection = self._patient if whole else self._reader
        try:
            return list(await connection.execute_fetchall(sql, tuple(parameters)))
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the database cannot be read: {error}") from error

    async def known_files(self) -> dict[str, FileStat]:
        """Each file that is linked or has failed, by path, with the time and size that it had then."""
        rows = await self._rows(
            "SELECT path, mtime_ns, size FROM files UNION ALL SELECT path, mtime_ns, size FROM failures", whole=True
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
            "SELECT path, mtime_ns, size FROM files WHERE NOT EXISTS (SELECT 1 FROM vectors"
            " INDEXED BY vectors_by_content WHERE content_id = files.content_id AND model = ?1)"
            " AND path NOT IN (SELECT path FROM failures WHERE model IS NULL OR model = ?1)"
            " UNION SELECT path, mtime_ns, size FROM failures WHERE model != ?1",
            (model,),
            whole=True,
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
        rows = await self._rows(
            "SELECT seq, touched.content_id, part, vector"
            " FROM (SELECT seq, content_id FROM changes WHERE seq > ? ORDER BY seq LIMIT ?) AS touched"
            " LEFT JOIN vectors ON vectors.content_id = touched.content_id AND model = ?"
            " AND EXISTS (SELECT 1 FROM files WHERE files.content_id = touched.content_id) ORDER BY seq, part",
            (seq, limit, model),
        )
        if not rows:
            return seq, [], []
        touched = list(dict.fromkeys(row[1] for row in rows))
        return rows[-1][0], touched, [(row[1], row[2], row[3]) for row in rows if row[2] is not None]

    async def library(self) -> str:
        """A name of this library that no other has."""
        rows = await self._rows("SELECT value FROM settings WHERE key = 'library'")
        return str(rows[0][0]) if rows else ""

    async def position(self, seq: int) -> Position:
        """A name for the point of this database's history at which `seq` was reached. Ask for it after `seq`."""
        rows = await self._rows("SELECT token FROM openings ORDER BY id DESC LIMIT 1")
        return Position(rows[0][0] if rows and self.marked else "", seq)

    async def knows(self, position: Position) -> bool:
        """Whether this database went through `position`; one that was put back from a copy may not have.

        Each opening notes the number reached. A number reached between two openings lies between theirs.
        """
        rows = await self._rows(
            "SELECT coalesce((SELECT min(seq) FROM openings AS later WHERE later.id > openings.id),"
            " (SELECT seq FROM sqlite_sequence WHERE name = 'changes'), 0) FROM openings WHERE token = ?",
            (position.opening,),
        )
        return self.marked and bool(rows) and position.seq <= rows[0][0]

    async def last_change(self) -> int:
        """The number of the last change."""
        rows = await self._rows("SELECT coalesce(max(seq), 0) FROM changes")
        return int(rows[0][0])

    async def changes_left(self, seq: int) -> int:
        """How many contents have changed after `seq`."""
        rows = await self._rows("SELECT count(*) FROM changes WHERE seq > ?", (seq,), whole=True)
        return int(rows[0][0])

    async def vector_count(self, model: int) -> int:
        """Vectors that the model has made, those of contents without files too."""
        sql = "SELECT count(*) FROM vectors INDEXED BY vectors_by_content WHERE model = ?"
        rows = await self._rows(sql, (model,), whole=True)
        return int(rows[0][0])

    async def random_vectors(self, model: int, count: int) -> list[tuple[int, bytes]]:
        """(content, vector) of at most `count` searchable contents, drawn by chance: fewer where most are gone."""
        last = (await self._rows("SELECT coalesce(max(id), 0) FROM contents"))[0][0]
        found: list[tuple[int, bytes]] = []
        for number in random.sample(range(1, last + 1), min(last, DRAWS * count)):
            rows = await self._rows(
                "SELECT contents.id, vector FROM contents CROSS JOIN vectors ON content_id = contents.id AND model = ?"
                " WHERE contents.id = ? AND unused_since IS NULL LIMIT 1",
                (model, number),
            )
            found += [(row[0], bytes(row[1])) for row in rows]
            if len(found) == count:
                break
        return found

    async def vectors_after(self, content: int, model: int, limit: int) -> list[tuple[int, int, bytes]]:
        """(content id, part, vector) of searchable contents with an id above `content`, `limit` contents of them."""
        rows = await self._rows(
            "SELECT content_id, part, vector FROM (SELECT id FROM contents WHERE id > ? AND unused_since IS NULL"
            " AND EXISTS (SELECT 1 FROM vectors INDEXED BY vectors_by_content WHERE content_id = id AND model = ?)"
            " ORDER BY id LIMIT ?) AS wanted CROSS JOIN vectors ON vectors.content_id = wanted.id AND model = ?"
            " ORDER BY content_id, part",
            (content, model, limit, model),
            whole=True,
        )
        return [tuple(row) for row in rows]

    async def hits(self, content_ids: Sequence[int], chosen: Filter = EVERYTHING) -> dict[int, Hit]:
        """The pictures behind contents that still have files. Files that pass the filter come first."""
        where, values = passing(chosen)
        first = f"({where}) IS TRUE DESC, " if where else ""
        rows = await self._rows(
            "SELECT contents.id, hash, files.path, width, height, colour, text FROM json_each(?) AS wanted"
            " JOIN contents ON contents.id = wanted.value JOIN files ON files.content_id = contents.id"
            f" ORDER BY {first}files.path",
            (msgspec.json.encode(list(content_ids)).decode(), *values),
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

    async def vectors_of_all(self, content_ids: Sequence[int], model: int) -> list[tuple[int, bytes]]:
        """(content id, vector) of every part, those of one content after those of another."""
        rows = await self._rows(
            "SELECT content_id, vector FROM json_each(?) AS wanted CROSS JOIN vectors INDEXED BY vectors_by_content"
            " ON content_id = wanted.value AND model = ? ORDER BY content_id, part",
            (msgspec.json.encode(list(content_ids)).decode(), model),
        )
        return [tuple(row) for row in rows]

    async def newest(self, limit: int, offset: int, chosen: Filter = EVERYTHING) -> list[int]:
        """Contents by the time their file was changed last, the newest first."""
        where, values = condition(chosen)
        rows = await self._rows(
            f"SELECT content_id FROM files {where} GROUP BY content_id"
            " ORDER BY max(mtime_ns) DESC, content_id LIMIT ? OFFSET ?",
            (*values, limit, offset),
        )
        return [row[0] for row in rows]

    async def contents_where(self, chosen: Filter) -> list[int]:
        """Searchable contents that pass the filter, by id."""
        where, values = condition(chosen)
        rows = await self._rows(f"SELECT DISTINCT content_id FROM files {where} ORDER BY content_id", values)
        return [row[0] for row in rows]

    async def match_words(self, table: str, expression: str, limit: int, chosen: Filter = EVERYTHING) -> list[int]:
        """Contents whose words match an FTS5 expression, best first by BM25. `table`: words or trigrams."""
        weights = {"words": "4.0, 2.0, 1.0", "trigrams": "4.0, 2.0"}[table]
        where, values = condition(chosen)
        kept = f"AND files.id IN (SELECT files.id FROM files {where})" if where else ""
        rows = await self._rows(
            f"SELECT content_id FROM {table} JOIN files ON files.id = {table}.rowid"
            f" WHERE {table} MATCH ? {kept} ORDER BY bm25({table}, {weights}), files.id LIMIT ?",
            (expression, *values, limit),
        )
        return list(dict.fromkeys(row[0] for row in rows))

    async def counts(self) -> dict[str, int]:
        """How many files, contents in use, failures, and contents whose text is read."""
        rows = await self._rows(
            "SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM contents WHERE unused_since IS NULL),"
            " (SELECT count(*) FROM failures),"
            " (SELECT count(*) FROM contents WHERE unused_since IS NULL AND text IS NOT NULL)",
            whole=True,
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
