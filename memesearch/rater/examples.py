"""From the rater's database to what a model is fitted to.

A label speaks of a file name; what was rated is the picture behind it then. So names are tied to the hash of
the bytes, and the vector is kept beside, when a label is stored: a picture that is gone goes on teaching.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.taste.labels import Labels, labels

SIDES = {"1": 1, "2": -1, "=": 0}


@dataclass(frozen=True)
class Examples:
    """Labels over the pictures they speak of, then all other pictures of the pool.

    Attributes:
        names: of each row.
        vectors: float32 [n, d], unit norm; the rows of the pool come first, in its order.
        labels: about rows.
        lost: how many labels speak of pictures whose vector nobody has.
    """

    names: list[str]
    vectors: NDArray[np.float32]
    labels: Labels
    lost: int


def remember(db: sqlite3.Connection, pool: Pool, rows: Iterable[int]) -> None:
    """Inside the transaction that stores a label: what the labelled rows of the pool were."""
    for row in rows:
        name, digest = pool.names[row], pool.hashes[row]
        db.execute("INSERT OR REPLACE INTO memes(filename, hash) VALUES (?, ?)", (name, digest))
        vector = pool.vectors[row].astype("<f2").tobytes()
        db.execute("INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)", (digest, pool.model_id, vector))


ANSWERS = "SELECT meme1, meme2, rating, grade FROM ratings ORDER BY id"
DIMENSION_ANSWERS = (
    "SELECT meme1, meme2, dimension_ratings.rating, dimension_ratings.grade"
    " FROM dimension_ratings JOIN ratings ON ratings.id = answer WHERE dimension = ? ORDER BY dimension_ratings.id"
)


def read_examples(database: RaterDatabase, pool: Pool, dimension: str | None = None) -> Examples:
    """Every answer and decision that the pool or the kept vectors can be found for.

    `dimension`: only answers about that one; decisions speak of the whole taste and are then left out.
    """
    with database.reading() as db:
        hashes = dict(db.execute("SELECT filename, hash FROM memes"))
        kept = dict(db.execute("SELECT hash, vector FROM vectors WHERE model_id = ?", (pool.model_id,)))
        if dimension is None:
            ratings = db.execute(ANSWERS).fetchall()
            decisions = db.execute("SELECT filename, hash, kept FROM decisions ORDER BY id").fetchall()
        else:
            ratings, decisions = db.execute(DIMENSION_ANSWERS, (dimension,)).fetchall(), []
    table = Rows(pool, hashes, kept)
    pairs, judged, lost = [], [], 0
    for meme1, meme2, rating, grade in ratings:
        first, second = table.row(meme1), table.row(meme2)
        if first is None or second is None or first == second or rating not in SIDES:
            lost += 1
            continue
        side = SIDES[rating]
        size = grade if grade in (1, 2) else None  # other programs may write any number: the side still counts
        pairs.append((first, second, side * (size or 1), size is not None or side == 0))
    for name, digest, keep in decisions:
        row = table.row(name, digest)
        if row is None:
            lost += 1
        else:
            judged.append((row, bool(keep)))
    return Examples(table.names, table.vectors(), labels(pairs, judged), lost)


class Rows:
    """Finds the row of a name, and makes rows for pictures that only the rater's database still has."""

    def __init__(self, pool: Pool, hashes: dict[str, bytes], kept: dict[bytes, bytes]) -> None:
        self.pool, self.hashes, self.kept = pool, hashes, kept
        self.names = list(pool.names)
        self._by_hash = {digest: row for row, digest in enumerate(pool.hashes)}
        self._by_name = {name: row for row, name in enumerate(pool.names)}
        self._more: list[NDArray[np.float32]] = []

    def row(self, name: str, digest: bytes | None = None) -> int | None:
        """The row of what `name` stood for, or None when its vector is lost."""
        digest = digest or self.hashes.get(name)
        if digest is None:
            return self._by_name.get(name)
        if digest not in self._by_hash:
            vector = self.kept.get(digest)
            if vector is None or len(vector) != 2 * self.pool.vectors.shape[1]:
                return None
            self._by_hash[digest] = len(self.names)
            self.names.append(name)
            self._more.append(np.frombuffer(vector, "<f2").astype(np.float32))
        return self._by_hash[digest]

    def vectors(self) -> NDArray[np.float32]:
        return np.concatenate([self.pool.vectors, np.array(self._more)]) if self._more else self.pool.vectors
