"""How the queue stands: what is left, what was decided, and how precise the selection has been."""

import sqlite3
from dataclasses import dataclass
from datetime import datetime

from memesearch.rater.database import RaterDatabase
from memesearch.taste.measures import wilson


@dataclass(frozen=True)
class Share:
    """A share that was measured on `of` pictures, with its 95 % interval."""

    value: float
    low: float
    high: float
    of: int


@dataclass(frozen=True)
class Standing:
    """Counts since the beginning, except `kept_today` and `discarded_today`.

    `precision` is the share kept of what the threshold let through; pictures queued by chance do not count.
    """

    left: int
    kept: int
    discarded: int
    kept_today: int
    discarded_today: int
    unmoved: int
    precision: Share | None


def standing(database: RaterDatabase) -> Standing:
    midnight = datetime.now().replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    with database.reading() as db:
        left = db.execute("SELECT count(*) FROM library_queue").fetchone()[0]
        discarded, kept = count(db, "1")
        discarded_today, kept_today = count(db, "at >= ?", midnight)
        missed, met = count(db, "NOT explored")
        unmoved = db.execute("SELECT count(*) FROM decisions WHERE moved != 1").fetchone()[0]
    decided = met + missed
    share = wilson(met, decided)
    precision = Share(share.value, share.low, share.high, decided) if decided else None
    return Standing(left, kept, discarded, kept_today, discarded_today, unmoved, precision)


def count(db: sqlite3.Connection, where: str, *values: float) -> tuple[int, int]:
    """How many discarded, and how many kept."""
    found = dict(db.execute(f"SELECT kept, count(*) FROM decisions WHERE {where} GROUP BY kept", values))
    return found.get(0, 0), found.get(1, 0)
