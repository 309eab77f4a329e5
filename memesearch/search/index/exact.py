"""Exact search: every vector is looked at, in float16, in memory. No training, no loss worth the name.

The vectors lie in an array of our own that FAISS looks at, so that a change costs only its own rows: a new vector
goes to the end, and the last one moves into the place of one that goes.
"""

import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memesearch.durable import synchronise
from memesearch.search.index.base import (
    PART_BITS,
    PARTS,
    Among,
    Effort,
    Found,
    Ids,
    QueryKind,
    Snapshot,
    Stats,
    Untended,
    best_parts,
)
from memesearch.search.index.files import Rows, Unusable, checksum, new_name, write_array
from memesearch.search.index.lock import ReadersWriterLock
from memesearch.search.index.plan import ROW_OVERHEAD
from memesearch.search.index.rows import best_first, scan, scores_of

LEAST_CAPACITY = 1024
GROWTH = 1.1  # the memory is moved by the kernel, not copied
WRITTEN_AT_ONCE = 4096  # rows
FEW = 1 / 16  # a filter that keeps less of the rows is answered from those rows alone


class ExactIndex(Untended):
    """Vectors [d] of contents, each content with one or more parts. Safe to call from any thread."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions
        self._vectors = np.empty((0, dimensions), np.float16)
        self._ids = np.empty(0, np.int64)
        self._row: dict[int, int] = {}
        self._contents = 0
        self._moved: set[int] | None = None  # rows that changed while they are written to disk
        self._lock = ReadersWriterLock()
        self._one_write = threading.Lock()  # keeping the index and sealing it may meet

    def __len__(self) -> int:
        return self._contents

    @property
    def rows(self) -> int:
        """Vectors held."""
        return len(self._row)

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Add whole contents, `ids` [n] with `vectors` [n, d]; earlier vectors of the same contents go.

        Raises:
            ValueError: an id comes twice.
        """
        if len(np.unique(ids)) != len(ids):
            raise ValueError("an id comes twice")
        with self._lock.writing():
            for content in np.unique(ids // PARTS).tolist():
                self._forget(content)
            start = self.rows
            self._reserve(start + len(ids))
            self._vectors[start : start + len(ids)] = vectors
            self._note(range(start, start + len(ids)))
            self._ids[start : start + len(ids)] = ids
            self._row.update(zip(ids.tolist(), range(start, start + len(ids)), strict=True))
            self._contents += int(np.count_nonzero(ids % PARTS == 0))

    def remove(self, contents: Ids) -> None:
        """Forget contents."""
        with self._lock.writing():
            for content in contents.tolist():
                self._forget(content)

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        among: Among | None = None,
        kind: QueryKind = "picture",
        effort: Effort | None = None,
    ) -> Found:
        """The `k` contents whose best part has the largest inner product with `query` [d]: scores, contents."""
        with self._lock.reading():
            wanted = min(self.rows, k + self.rows - self._contents, k * PARTS)
            return best_parts(*self._best(query.astype(np.float32), wanted, among), k)

    def parts(self, query: NDArray[np.float32], count: int, among: Among | None) -> Found:
        """The `count` best parts, best first: scores, ids."""
        with self._lock.reading():
            return self._best(query.astype(np.float32), count, among)

    def _best(self, query: NDArray[np.float32], count: int, among: Among | None) -> Found:
        vectors, ids = self._vectors[: self.rows], self._ids[: self.rows]
        if among is None:
            scores, found = scan(vectors, query, count)
            return scores, ids[found]
        mask = among.mask(ids >> PART_BITS)
        few = np.flatnonzero(mask)
        if len(few) < FEW * len(ids):
            scores = scores_of(vectors, few, query)
            order = best_first(scores, count)
            return scores[order], ids[few[order]]
        scores, found = scan(vectors, query, count, mask)
        return scores, ids[found]

    def snapshot(self, folder: Path) -> Snapshot:
        """Write all rows below `folder`; searches and changes go on meanwhile. Raises OSError."""
        return Snapshot(kind="exact", rows=[self.write(folder)])

    def write(self, folder: Path) -> Rows:
        """Write the rows of one moment to new files below `folder`: both, or none. Raises OSError."""
        rows = Rows(new_name("rows"), 0, "")
        try:
            with self._one_write:
                self._write(folder, rows)
        except BaseException:
            for name in (rows.vectors, rows.ids):
                (folder / name).unlink(missing_ok=True)
            raise
        return rows

    def _write(self, folder: Path, rows: Rows) -> None:
        with self._lock.reading():
            self._moved = set()
        try:
            with (folder / rows.vectors).open("wb") as file:
                written = 0
                while len(block := self._block(written)):
                    file.write(block.tobytes())
                    written += len(block)
                with self._lock.reading():
                    rows.count, ids = self.rows, self._ids[: self.rows].copy()
                    patch = {row: self._vectors[row].copy() for row in self._moved if row < rows.count}
                for row, vector in patch.items():
                    file.seek(row * vector.nbytes)
                    file.write(vector.tobytes())
                file.truncate(rows.count * self.dimensions * 2)
        finally:
            self._moved = None
        write_array(folder / rows.ids, ids)
        rows.sum = checksum(folder / rows.ids)
        synchronise(folder / rows.vectors)

    def copy(self) -> tuple[Ids, NDArray[np.float16]]:
        """All ids [n] and vectors [n, d] of this moment."""
        with self._lock.reading():
            return self._ids[: self.rows].copy(), self._vectors[: self.rows].copy()

    def _block(self, start: int) -> NDArray[np.float16]:
        with self._lock.reading():
            return self._vectors[start : min(start + WRITTEN_AT_ONCE, self.rows)].copy()

    @classmethod
    def read(cls, folder: Path, rows: Rows, dimensions: int) -> "ExactIndex":
        """What `write` wrote. Raises Unusable."""
        rows.check(folder, dimensions)
        index = cls(dimensions)
        index._ids = np.fromfile(folder / rows.ids, np.int64)
        index._vectors = np.empty((rows.count, dimensions), np.float16)  # `fromfile` makes none that can grow
        with (folder / rows.vectors).open("rb") as file:
            file.readinto(index._vectors.reshape(-1).view(np.uint8).data)
        index._row = dict(zip(index._ids.tolist(), range(rows.count), strict=True))
        if len(index._row) != rows.count:
            raise Unusable(f"{rows.ids} names an id twice")
        index._contents = int(np.count_nonzero(index._ids % PARTS == 0))
        return index

    @staticmethod
    def memory_needed(rows: int, dimensions: int) -> int:
        """Bytes for so many vectors."""
        return rows * (2 * dimensions + ROW_OVERHEAD)

    def snapshot_rows(self) -> int:
        """All of them: rows change in place."""
        return self.rows

    def stats(self) -> Stats:
        return Stats("exact", len(self), self.rows, self._vectors.nbytes + self.rows * ROW_OVERHEAD)

    def close(self) -> None:
        """Nothing to let go of."""

    def _note(self, rows: Iterable[int]) -> None:
        if self._moved is not None:
            self._moved.update(rows)

    def _forget(self, content: int) -> None:
        part = 0
        while (row := self._row.pop(content * PARTS + part, None)) is not None:
            last = self.rows  # one fewer than before
            if row != last:
                moved = int(self._ids[last])
                self._vectors[row], self._ids[row] = self._vectors[last], moved
                self._row[moved] = row
                self._note([row])
            self._contents -= part == 0
            part += 1

    def _reserve(self, rows: int) -> None:
        if rows <= len(self._ids):
            return
        capacity = max(rows, int(len(self._ids) * GROWTH), LEAST_CAPACITY)
        self._vectors.resize((capacity, self.dimensions), refcheck=False)  # searches are kept out by the lock
        self._ids.resize(capacity, refcheck=False)
