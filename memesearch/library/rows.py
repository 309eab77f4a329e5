"""Steps of the store's transactions: linking files to contents, and what follows from it.

Each takes the writer's connection inside an open transaction.
"""

import sqlite3
import time

from memesearch.library.records import FileStat


def touch(db: sqlite3.Connection, content_id: int) -> None:
    db.execute("INSERT OR REPLACE INTO changes(content_id) VALUES (?)", (content_id,))


def link(db: sqlite3.Connection, file: FileStat, content_id: int) -> None:
    unlink(db, file.path)
    db.execute("DELETE FROM failures WHERE path = ?", (file.path,))
    file_id = db.execute(
        "INSERT INTO files(path, mtime_ns, size, content_id) VALUES (?, ?, ?, ?)",
        (file.path, file.mtime_ns, file.size, content_id),
    ).lastrowid
    text = db.execute("SELECT text FROM contents WHERE id = ?", (content_id,)).fetchone()[0]
    db.execute("UPDATE contents SET unused_since = NULL WHERE id = ?", (content_id,))
    index_words(db, file_id or 0, file.path, text)
    touch(db, content_id)


def unlink(db: sqlite3.Connection, path: str) -> None:
    row = db.execute("DELETE FROM files WHERE path = ? RETURNING id, content_id", (path,)).fetchone()
    if row is None:
        return
    db.execute("DELETE FROM words WHERE rowid = ?", (row[0],))
    db.execute("DELETE FROM trigrams WHERE rowid = ?", (row[0],))
    db.execute(
        "UPDATE contents SET unused_since = ? WHERE id = ?"
        " AND NOT EXISTS (SELECT 1 FROM files WHERE content_id = contents.id)",
        (time.time(), row[1]),
    )
    touch(db, row[1])


def unlink_changed(db: sqlite3.Connection, file: FileStat) -> None:
    """Unlink the file unless it is linked with this very time and size."""
    linked = db.execute("SELECT mtime_ns, size FROM files WHERE path = ?", (file.path,)).fetchone()
    if linked != (file.mtime_ns, file.size):
        unlink(db, file.path)


def index_words(db: sqlite3.Connection, file_id: int, path: str, text: str | None) -> None:
    folder, _, name = path.rpartition("/")
    stem = name.rpartition(".")[0] or name
    spaced = stem.replace("_", " ").replace("-", " ")
    db.execute(
        "INSERT OR REPLACE INTO words(rowid, text, name, folder) VALUES (?, ?, ?, ?)",
        (file_id, text or "", spaced, folder.replace("/", " ")),
    )
    db.execute("INSERT OR REPLACE INTO trigrams(rowid, text, name) VALUES (?, ?, ?)", (file_id, text or "", spaced))


def purge(db: sqlite3.Connection, before: float) -> None:
    """Delete contents that have had no file since `before` (seconds since 1970)."""
    old = "SELECT id FROM contents WHERE unused_since < ?"
    db.execute(f"DELETE FROM vectors WHERE content_id IN ({old})", (before,))
    db.execute("DELETE FROM contents WHERE unused_since < ?", (before,))
