"""Statements on `offers` and `queue`: which pairs are shown, in which order, and that each is answered once.

A pair that is shown has a token. Whatever comes back names the token and no file, and moves the offer out of the state
`open` in the same transaction that stores the answer, so that a second submission finds nothing to do, also after a
restart.
"""

import math
import secrets
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import dataclass

from memesearch.rater.rating.answers import forget_answer


@dataclass(frozen=True)
class Offer:
    """A pair with its token. `queued`: it came from the queue; `state`: open, answered, skipped or gone."""

    token: str
    meme1: str
    meme2: str
    iteration: str | None
    reason: str | None
    queued: bool
    state: str
    answer: int | None

    @property
    def names(self) -> tuple[str, str]:
        return self.meme1, self.meme2


SAME = (
    "(offers.meme1 = queue.meme1 AND offers.meme2 = queue.meme2"
    " OR offers.meme1 = queue.meme2 AND offers.meme2 = queue.meme1)"
)
COLUMNS = "token, meme1, meme2, iteration, reason, queued, state, answer"


def read(rows: Iterable[tuple[str, str, str, str | None, str | None, int, str, int | None]]) -> list[Offer]:
    return [Offer(*row[:5], bool(row[5]), *row[6:]) for row in rows]


def open_offers(db: sqlite3.Connection) -> list[Offer]:
    """The next one first."""
    return read(db.execute(f"SELECT {COLUMNS} FROM offers WHERE state = 'open' ORDER BY place"))


def offer_of(db: sqlite3.Connection, token: str) -> Offer | None:
    found = read(db.execute(f"SELECT {COLUMNS} FROM offers WHERE token = ?", (token,)))
    return found[0] if found else None


def last_done(db: sqlite3.Connection) -> Offer | None:
    """What an undo would take back."""
    found = read(
        db.execute(
            f"SELECT {COLUMNS} FROM offers WHERE state IN ('answered', 'skipped')"
            " ORDER BY done DESC, rowid DESC LIMIT 1"
        )
    )
    return found[0] if found else None


def make_offer(
    db: sqlite3.Connection, pair: tuple[str, str], iteration: str | None, reason: str | None, queued: bool
) -> None:
    """To be shown after all others that are open."""
    db.execute(
        "INSERT INTO offers(token, meme1, meme2, iteration, reason, queued, place, state)"
        " SELECT ?, ?, ?, ?, ?, ?, coalesce(max(place), 0) + 1, 'open' FROM offers",
        (secrets.token_urlsafe(12), *pair, iteration, reason, queued),
    )


def close(
    db: sqlite3.Connection, offer: Offer, state: str, answer: int | None = None, guess: float | None = None
) -> None:
    """The offer is answered, skipped or gone; it leaves the queue too.

    It is the last one that was done, also where the clock was set back meanwhile: an undo must not take back another.
    """
    (latest,) = db.execute("SELECT coalesce(max(done), 0) FROM offers").fetchone()
    db.execute(
        "UPDATE offers SET state = ?, answer = ?, guess = ?, done = ? WHERE token = ?",
        (state, answer, guess, max(time.time(), math.nextafter(latest, math.inf)), offer.token),
    )
    if offer.queued:
        db.execute("DELETE FROM queue WHERE meme1 IN (?, ?) AND meme2 IN (?, ?)", offer.names * 2)


def reopen(db: sqlite3.Connection, offer: Offer) -> None:
    """Take back an answer or a skip: the pair is shown next."""
    if offer.answer is not None:
        db.execute("UPDATE offers SET answer = NULL WHERE token = ?", (offer.token,))
        forget_answer(db, offer.answer)
    db.execute(
        "UPDATE offers SET state = 'open', guess = NULL, done = NULL,"
        " place = (SELECT min(place) - 1 FROM offers) WHERE token = ?",
        (offer.token,),
    )
    if offer.queued:
        db.execute(
            "INSERT OR IGNORE INTO queue(meme1, meme2, iteration, reason) VALUES (?, ?, ?, ?)",
            (*offer.names, offer.iteration, offer.reason),
        )


def withdraw(db: sqlite3.Connection, offer: Offer) -> None:
    """An open offer that nobody has looked at, for a better one."""
    db.execute("DELETE FROM offers WHERE token = ? AND state = 'open'", (offer.token,))


def adopt(db: sqlite3.Connection) -> None:
    """Pairs that were chosen live and are now in the queue, in either order, are the queue's."""
    db.execute(
        f"UPDATE offers SET queued = 1, iteration = (SELECT iteration FROM queue WHERE {SAME}), reason ="
        f" (SELECT coalesce(queue.reason, 'queue') FROM queue WHERE {SAME})"
        f" WHERE state = 'open' AND NOT queued AND EXISTS (SELECT 1 FROM queue WHERE {SAME})"
    )


def waiting(db: sqlite3.Connection) -> list[tuple[str, str, str | None, str | None]]:
    """(meme1, meme2, iteration, reason) of the queue that is not on offer yet, in its order."""
    return db.execute(
        "SELECT meme1, meme2, iteration, reason FROM queue WHERE NOT EXISTS"
        f" (SELECT 1 FROM offers WHERE state = 'open' AND {SAME}) ORDER BY queue.rowid"
    ).fetchall()


def drop_queued(db: sqlite3.Connection, pair: tuple[str, str]) -> None:
    """A queued pair that cannot be shown; it is counted as gone."""
    make_offer(db, pair, None, None, True)
    db.execute("UPDATE offers SET state = 'gone', done = ? WHERE rowid = last_insert_rowid()", (time.time(),))
    db.execute("DELETE FROM queue WHERE meme1 = ? AND meme2 = ?", pair)


def shown_pairs(db: sqlite3.Connection) -> set[frozenset[str]]:
    """The two names of each pair that is on offer or was skipped; answered ones are in `ratings`."""
    rows = db.execute("SELECT meme1, meme2 FROM offers WHERE state IN ('open', 'skipped')")
    return {frozenset(pair) for pair in rows}


def queued_pairs(db: sqlite3.Connection) -> set[frozenset[str]]:
    """The two names of each pair in the queue."""
    return {frozenset(pair) for pair in db.execute("SELECT meme1, meme2 FROM queue")}


def counts(db: sqlite3.Connection) -> dict[str, int]:
    """How many pairs are queued, were skipped, and were dropped because a picture is gone."""
    states = dict(db.execute("SELECT state, count(*) FROM offers GROUP BY state").fetchall())
    queue = db.execute("SELECT count(*) FROM queue").fetchone()[0]
    return {"queue": queue, "skipped": states.get("skipped", 0), "dropped": states.get("gone", 0)}
