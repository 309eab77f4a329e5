"""Exact search: FAISS float16 scalar quantiser under inner product, no training, no loss worth the name.

Concurrent searches are fine in FAISS, a change needs exclusion: a readers-writer lock sees to it.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np
from numpy.typing import NDArray

PARTS = 16  # ids are content * PARTS + part; a content has at most this many vectors


class ReadersWriterLock:
    """Many readers or one writer; who wants to write lets no new reader in, so that searches never starve it."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._readers = 0
        self._writers = 0

    @contextmanager
    def reading(self) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: self._writers == 0)
            self._readers += 1
        try:
            yield
        finally:
            with self._condition:
                self._readers -= 1
                self._condition.notify_all()

    @contextmanager
    def writing(self) -> Iterator[None]:
        with self._condition:
            self._writers += 1
            try:
                self._condition.wait_for(lambda: self._readers == 0)
                yield
            finally:
                self._writers -= 1
                self._condition.notify_all()


class FlatIndex:
    """Vectors [d] of contents, each content with one or more parts. Safe to call from any thread."""

    def __init__(self, dimensions: int) -> None:
        self.dimensions = dimensions
        self._contents = 0
        quantiser = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        self._index = faiss.IndexIDMap2(quantiser)
        self._lock = ReadersWriterLock()

    def __len__(self) -> int:
        return self._contents

    def replace(self, contents: NDArray[np.int64], ids: NDArray[np.int64], vectors: NDArray[np.float16]) -> None:
        """Remove all parts of `contents`, add rows: `ids` [n] = content * PARTS + part, `vectors` [n, d]."""
        with self._lock.writing():
            if self._index.ntotal and len(contents):
                first_parts = np.asarray(contents, np.int64) * PARTS
                self._contents -= self._index.remove_ids(faiss.IDSelectorBatch(first_parts))
                if self._index.ntotal > self._contents:
                    others = (first_parts[:, None] + np.arange(1, PARTS)).ravel()
                    self._index.remove_ids(faiss.IDSelectorBatch(others))
            if len(ids):
                self._index.add_with_ids(vectors.astype(np.float32), ids)
                self._contents += int(np.count_nonzero(ids % PARTS == 0))

    def search(self, query: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The `k` contents whose best part has the largest inner product with `query` [d]: scores, ids."""
        with self._lock.reading():
            rows = self._index.ntotal
            wanted = min(rows, k + (rows - self._contents), k * PARTS)
            if wanted <= 0:
                return np.empty(0, np.float32), np.empty(0, np.int64)
            scores, ids = self._index.search(query.reshape(1, -1).astype(np.float32), wanted)
        contents = ids[0] // PARTS
        _, first = np.unique(contents, return_index=True)
        first.sort()
        return scores[0][first][:k], contents[first][:k]
