"""Statements on `ratings` and `dimension_ratings`: what a person said of two pictures, and unsaying it."""

import sqlite3
import time
from dataclasses import dataclass

from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import SIDES

RATINGS = {1: "1", -1: "2", 0: "="}


def written(grade: int) -> tuple[str, int]:
    """`rating` and `grade` as the tables hold them, of a grade from 2 (first much better) to -2."""
    return RATINGS[(grade > 0) - (grade < 0)], abs(grade)


@dataclass(frozen=True)
class Outcome:
    """One answer beside what the model had expected. `side`: 1 the first, -1 the second, 0 neither; `guess`: > 0 the
    first, None when no model was there yet."""

    side: int
    guess: float | None

    @property
    def told(self) -> bool | None:
        """Whether the model was right; None where it had nothing to say, or the person saw no difference."""
        return None if self.guess is None or self.side == 0 else (self.guess > 0) == (self.side > 0)


def store_answer(
    db: sqlite3.Connection,
    pair: tuple[str, str],
    grade: int,
    dimensions: dict[str, int],
    iteration: str | None,
    reason: str | None,
) -> int:
    """Inside a transaction; returns the answer's id."""
    now = time.time()
    rating, size = written(grade)
    answer = db.execute(
        "INSERT INTO ratings(meme1, meme2, rating, iteration, grade, reason, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*pair, rating, iteration, size, reason, now),
    ).lastrowid
    assert answer is not None
    for dimension, told in dimensions.items():
        rating, size = written(told)
        db.execute(
            "INSERT INTO dimension_ratings(dimension, answer, rating, grade, at) VALUES (?, ?, ?, ?, ?)",
            (dimension, answer, rating, size, now),
        )
    return answer


def forget_answer(db: sqlite3.Connection, answer: int) -> None:
    """Inside a transaction."""
    db.execute("DELETE FROM dimension_ratings WHERE answer = ?", (answer,))
    db.execute("DELETE FROM ratings WHERE id = ?", (answer,))


def count_answers(database: RaterDatabase) -> int:
    with database.reading() as db:
        return int(db.execute("SELECT count(*) FROM ratings").fetchone()[0])


def answered_pairs(database: RaterDatabase) -> set[frozenset[str]]:
    """The two names of each pair that was ever rated."""
    with database.reading() as db:
        return {frozenset(pair) for pair in db.execute("SELECT meme1, meme2 FROM ratings")}


def as_rows(pairs: set[frozenset[str]], rows: dict[str, int]) -> list[tuple[int, int]]:
    """Pairs of names as pairs of rows, those that have one."""
    found = [[rows[name] for name in pair if name in rows] for pair in pairs]
    return [(two[0], two[1]) for two in found if len(two) == 2]


def outcomes(database: RaterDatabase) -> list[Outcome]:
    """Of all answers given on the page, the oldest first."""
    with database.reading() as db:
        rows = db.execute(
            "SELECT rating, guess FROM offers JOIN ratings ON ratings.id = answer"
            " WHERE state = 'answered' ORDER BY answer"
        ).fetchall()
    return [Outcome(SIDES[rating], guess) for rating, guess in rows if rating in SIDES]
