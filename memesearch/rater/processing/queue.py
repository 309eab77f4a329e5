"""The queue of pictures that wait for a person's decision: its order, joining it, and being put off in it."""

import hashlib
import sqlite3
import time
from dataclasses import dataclass

from memesearch.rater.database import RaterDatabase

COLUMNS = "filename, score, keep, explored, model, later, hash, token"
RECENT = 1000  # decisions that say how P(keep) is spread


@dataclass(frozen=True)
class Waiting:
    """A row of the queue.

    Attributes:
        filename: relative to the folder of pictures.
        score, keep: of the model `model`; keep is P(keep), None in queues of the first implementation.
        explored: queued by chance although it is below the threshold.
        later: how often it was put off.
        hash: of the bytes that were scored, when that is known.
        token: what a browser names the row by; another one each time the picture comes into the queue.
    """

    filename: str
    score: float | None
    keep: float | None
    explored: bool
    model: str | None
    later: int
    hash: bytes | None
    token: str


def add(
    db: sqlite3.Connection,
    filename: str,
    digest: bytes,
    score: float | None,
    keep: float | None,
    explored: bool = False,
    model: str | None = None,
) -> bool:
    """Inside a transaction: queue a picture, unless it is queued or was decided; whether it was added."""
    if db.execute("SELECT 1 FROM decisions WHERE hash = ?", (digest,)).fetchone():
        return False
    added = db.execute(
        "INSERT OR IGNORE INTO library_queue(filename, score, keep, explored, model, at, hash)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (filename, score, keep, int(explored), model, time.time(), digest),
    )
    return added.rowcount == 1


def names(db: sqlite3.Connection) -> list[str]:
    """The pictures of the whole queue, best first; what was put off comes last.

    Pictures that were queued by chance stand where chance puts them among the others, so that their place does not
    tell them apart and they are judged like any other.
    """
    rows = db.execute("SELECT filename, keep, score, explored, later FROM library_queue").fetchall()
    decided = db.execute(
        "SELECT keep FROM decisions WHERE NOT explored AND keep IS NOT NULL ORDER BY id DESC LIMIT ?", (RECENT,)
    )
    shown = [keep for _, keep, _, explored, _ in rows if keep is not None and not explored]
    spread = sorted(shown + [keep for (keep,) in decided])

    def rank(row: tuple[str, float | None, float | None, int, int]) -> tuple[int, float, float, str]:
        filename, keep, score, explored, later = row
        if explored and spread:
            keep = spread[int(lot(filename) * len(spread))]
        return later, -(-1.0 if keep is None else keep), -(score or 0.0) if not explored else 0.0, filename

    return [row[0] for row in sorted(rows, key=rank)]


def named(db: sqlite3.Connection, filename: str) -> Waiting | None:
    return first(db, "filename", filename)


def lot(filename: str) -> float:
    """A number in [0, 1) that is drawn once for each name."""
    return int.from_bytes(hashlib.sha256(filename.encode()).digest()[:6], "big") / 2**48


def find(db: sqlite3.Connection, token: str) -> Waiting | None:
    return first(db, "token", token)


def first(db: sqlite3.Connection, column: str, value: str) -> Waiting | None:
    row = db.execute(f"SELECT {COLUMNS} FROM library_queue WHERE {column} = ?", (value,)).fetchone()
    return None if row is None else Waiting(*row)


def put_off(database: RaterDatabase, token: str) -> str | None:
    """To the end with it. The row's new token, None when there is no such row."""
    return step(database, token, 1)


def put_back(database: RaterDatabase, token: str) -> str | None:
    """Undo `put_off`. The row's new token, None when there is no such row."""
    return step(database, token, -1)


def step(database: RaterDatabase, token: str, by: int) -> str | None:
    """A new token makes a request that is sent twice find nothing the second time."""
    with database.transaction() as db:
        row = db.execute(
            "UPDATE library_queue SET later = max(0, later + ?), token = lower(hex(randomblob(16)))"
            " WHERE token = ? RETURNING token",
            (by, token),
        ).fetchone()
    return None if row is None else str(row[0])
