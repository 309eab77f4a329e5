"""All vectors of a library at once, for programs that learn from them. Reads; never waits for its writer."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memesearch.errors import ConfigError


@dataclass(frozen=True)
class Pool:
    """The searchable pictures of a library; one row per content.

    Attributes:
        model_id: of the model that made the vectors.
        names: path of each, relative to the library's folder; the first by name where several files are the same.
        hashes: BLAKE2b-128 of each file's bytes.
        vectors: float32 [n, d], unit norm; the mean of an animation's frames.
    """

    model_id: str
    names: list[str]
    hashes: list[bytes]
    vectors: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.names)


def read_pool(database: Path, only: bytes | None = None) -> Pool:
    """Read a library's database; with `only`, a file's hash, just that picture, which costs next to nothing.

    Raises:
        ConfigError: there is no such database, it is of another version, or nothing is indexed in it yet.
    """
    if not database.is_file():
        raise ConfigError(f"{database}: there is no such database; index the pictures first (mse.py makes it)")
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30)) as db:
            return read(db, database, only)
    except sqlite3.Error as error:
        raise ConfigError(f"{database}: cannot be read: {error}") from error


def read(db: sqlite3.Connection, database: Path, only: bytes | None) -> Pool:
    active = db.execute(
        "SELECT models.id, model_id, dimensions FROM settings JOIN models ON models.id = value"
        " WHERE key = 'active_model'"
    ).fetchone()
    if active is None:
        raise ConfigError(f"{database}: nothing is indexed in it yet")
    number, model_id, dimensions = active
    names, hashes, blobs, counts = [], [], [], []
    rows = db.execute(
        "SELECT contents.id, min(path), hash FROM files JOIN contents ON contents.id = content_id"
        f" {'' if only is None else 'WHERE hash = ?'} GROUP BY contents.id ORDER BY contents.id",
        () if only is None else (only,),
    )
    for content, path, digest in rows.fetchall():
        parts = db.execute("SELECT vector FROM vectors WHERE model = ? AND content_id = ?", (number, content))
        vectors = [part[0] for part in parts if len(part[0]) == 2 * dimensions]
        if vectors:
            names.append(path)
            hashes.append(digest)
            counts.append(len(vectors))
            blobs += vectors
    return Pool(model_id, names, hashes, mean_of_parts(blobs, counts, dimensions))


def mean_of_parts(blobs: list[bytes], counts: list[int], dimensions: int) -> NDArray[np.float32]:
    """One vector per content. `blobs`: little-endian float16, the parts of one content after those of another."""
    if not counts:
        return np.zeros((0, dimensions), np.float32)
    parts = np.frombuffer(b"".join(blobs), "<f2").reshape(-1, dimensions).astype(np.float32)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(parts, starts, axis=0)
    lengths: NDArray[np.float32] = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(sums / np.maximum(lengths, 1e-12), np.float32)
