"""What the pipeline has looked at: all that it stores in the table `scores`, and in the queue.

A picture is known by the hash of its bytes. `waiting` is one that is scored and not yet decided upon; a run that was
killed leaves such rows, and the next one goes on with them.
"""

import os
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memesearch.rater.database import RaterDatabase
from memesearch.rater.processing import queue
from memesearch.taste.checkpoint import Checkpoint


@dataclass(frozen=True)
class Candidate:
    """A scored picture that may be queued.

    Attributes:
        hash: of its bytes.
        row: of the pool.
        score: on the scale of the model that scored it.
        keep: P(keep), 0 to 1.
        explored: whether it is below the threshold and drawn by chance.
        chance: the probability with which such a picture is queued.
    """

    hash: bytes
    filename: str
    row: int
    score: float
    keep: float
    explored: bool = False
    chance: float = 1.0


def seen(database: RaterDatabase) -> dict[bytes, str]:
    """The outcome of each picture that was scored, by hash."""
    with database.reading() as db:
        return dict(db.execute("SELECT hash, outcome FROM scores"))


def store_scores(
    database: RaterDatabase,
    pictures: Sequence[tuple[bytes, str]],
    score: NDArray[np.float64],
    keep: NDArray[np.float64],
    model: str,
) -> None:
    """Enter (hash, name) with what the model thinks of them, as waiting; rows that wait already get the new numbers."""
    now = time.time()
    rows = [
        (digest, name, model, float(value), float(probability), now)
        for (digest, name), value, probability in zip(pictures, score, keep, strict=True)
    ]
    with database.transaction() as db:
        db.executemany(
            "INSERT INTO scores(hash, filename, model, score, keep, outcome, at) VALUES (?, ?, ?, ?, ?, 'waiting', ?)"
            " ON CONFLICT(hash) DO UPDATE SET filename = excluded.filename, model = excluded.model,"
            " score = excluded.score, keep = excluded.keep WHERE outcome = 'waiting'",
            rows,
        )


def reopen(database: RaterDatabase, model: str) -> int:
    """Let pictures that only another model found too bad wait again; returns how many."""
    with database.transaction() as db:
        return db.execute(
            "UPDATE scores SET outcome = 'waiting' WHERE outcome = 'below' AND model != ?", (model,)
        ).rowcount


def waiting(database: RaterDatabase, rows: dict[bytes, int]) -> list[Candidate]:
    """Those that wait and are in the pool, best first. `rows`: place in the pool, by hash."""
    with database.reading() as db:
        found = db.execute(
            "SELECT hash, filename, score, keep FROM scores WHERE outcome = 'waiting' ORDER BY keep DESC, hash"
        ).fetchall()
    return [Candidate(h, name, rows[h], score, keep) for h, name, score, keep in found if h in rows]


def settle(database: RaterDatabase, candidates: Sequence[Candidate], outcome: str, reason: str | None = None) -> None:
    """Say what came of pictures that are not queued."""
    with database.transaction() as db:
        db.executemany(
            "UPDATE scores SET outcome = ?, reason = ?, chance = ? WHERE hash = ? AND outcome = 'waiting'",
            [(outcome, reason, picture.chance, picture.hash) for picture in candidates],
        )


def enqueue(database: RaterDatabase, picture: Candidate, model: str) -> bool:
    """Into the queue, and its outcome, in one transaction; False when the person decided upon it meanwhile."""
    with database.transaction() as db:
        db.execute("DELETE FROM library_queue WHERE filename = ? AND hash != ?", (picture.filename, picture.hash))
        added = queue.add(db, picture.filename, picture.hash, picture.score, picture.keep, picture.explored, model)
        outcome = "decided" if not added else "explored" if picture.explored else "queued"
        db.execute("UPDATE scores SET outcome = ?, chance = ? WHERE hash = ?", (outcome, picture.chance, picture.hash))
    return added


def rescore_queue(
    database: RaterDatabase, checkpoint: Checkpoint, rows: dict[str, int], vectors: NDArray[np.float32]
) -> int:
    """Let the queue say what the newest model thinks; returns how many rows it was another's. `rows`: by name."""
    with database.reading() as db:
        names = [
            name
            for (name,) in db.execute("SELECT filename FROM library_queue WHERE model IS NOT ?", (checkpoint.name,))
            if name in rows
        ]
    if not names:
        return 0
    chosen = vectors[[rows[name] for name in names]]
    score, keep = checkpoint.model.mean_score(chosen), checkpoint.model.keep_probability(chosen)
    with database.transaction() as db:
        db.executemany(
            "UPDATE library_queue SET score = ?, keep = ?, model = ? WHERE filename = ?",
            [
                (float(value), float(probability), checkpoint.name, name)
                for value, probability, name in zip(score, keep, names, strict=True)
            ],
        )
    return len(names)


def take_out_gone(database: RaterDatabase, there: Collection[str], images: Path) -> int:
    """Take pictures out of the queue whose files are gone; returns how many. `there`: names of those that are not.

    Their scores wait again, so that a file that comes back is queued again.
    """
    with database.reading() as db:
        rows = db.execute("SELECT filename, hash, token FROM library_queue").fetchall()
    gone = [row for row in rows if row[0] not in there and not lies_at(images, row[0])]
    with database.transaction() as db:
        for name, digest, token in gone:
            removed = db.execute("DELETE FROM library_queue WHERE filename = ? AND token = ?", (name, token)).rowcount
            if removed:  # else it was decided meanwhile
                db.execute(
                    "UPDATE scores SET outcome = 'waiting', chance = NULL"
                    " WHERE hash = ? AND outcome IN ('queued', 'explored')",
                    (digest,),
                )
    return len(gone)


def lies_at(images: Path, name: str) -> bool:
    try:
        return os.path.lexists(images / name)
    except ValueError:  # a NUL: no file has such a name
        return False


def decided(database: RaterDatabase) -> set[bytes]:
    """The pictures that the person kept or discarded, by hash."""
    with database.reading() as db:
        return {digest for (digest,) in db.execute("SELECT DISTINCT hash FROM decisions")}


def crawled_since(database: RaterDatabase, at: float) -> int:
    """How many pictures the crawler has stored."""
    with database.reading() as db:
        return int(db.execute("SELECT count(*) FROM posts WHERE outcome = 'stored' AND at >= ?", (at,)).fetchone()[0])


def queue_length(database: RaterDatabase) -> int:
    """How many pictures the person has before them."""
    with database.reading() as db:
        return int(db.execute("SELECT count(*) FROM library_queue").fetchone()[0])
