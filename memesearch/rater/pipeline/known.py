"""Whether a picture is one that the person has seen: in the queue, decided upon, or in the same batch."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase

BLOCK = 4096  # rows that are compared at a time


class Known:
    """Vectors with the names of what they show; grows as pictures are queued."""

    def __init__(self, names: list[str], vectors: NDArray[np.float32], similarity: float) -> None:
        """`vectors`: float32 [n, d], unit norm. `similarity`: the cosine from which two are near-duplicates."""
        self._names = names
        self._blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
        self._similarity = similarity

    def nearest(self, vector: NDArray[np.float32]) -> str | None:
        """The name of the one most alike `vector`, float32 [d], if that is a near-duplicate."""
        best, place, start = self._similarity, -1, 0
        for block in self._blocks:
            likeness = block @ vector
            top = int(np.argmax(likeness))
            if likeness[top] >= best:
                best, place = float(likeness[top]), start + top
            start += len(block)
        return self._names[place] if place >= 0 else None

    def add(self, name: str, vector: NDArray[np.float32]) -> None:
        self._names.append(name)
        if self._blocks and len(self._blocks[-1]) < BLOCK:
            self._blocks[-1] = np.concatenate([self._blocks[-1], vector[None]])
        else:
            self._blocks.append(vector[None])


def known_pictures(database: RaterDatabase, pool: Pool, similarity: float) -> Known:
    """What stands in the queue, and all that was ever decided upon whose vector somebody still has."""
    with database.reading() as db:
        queued = [name for (name,) in db.execute("SELECT filename FROM library_queue")]
        decisions = dict(db.execute("SELECT hash, filename FROM decisions"))
        stored = dict(db.execute("SELECT hash, vector FROM vectors WHERE model_id = ?", (pool.model_id,)))
    by_name = {name: row for row, name in enumerate(pool.names)}
    by_hash = {digest: row for row, digest in enumerate(pool.hashes)}
    names = [name for name in queued if name in by_name]
    vectors = [pool.vectors[by_name[name]] for name in names]
    size = pool.vectors.shape[1]
    for digest, name in decisions.items():
        if digest in by_hash:
            vectors.append(pool.vectors[by_hash[digest]])
        elif len(stored.get(digest, b"")) == 2 * size:
            vectors.append(unit(np.frombuffer(stored[digest], "<f2").astype(np.float32)))
        else:
            continue
        names.append(name)
    return Known(names, stack(vectors, size), similarity)


def stack(vectors: Iterable[NDArray[np.float32]], size: int) -> NDArray[np.float32]:
    held = list(vectors)
    return np.stack(held) if held else np.zeros((0, size), np.float32)


def unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), np.float32)
