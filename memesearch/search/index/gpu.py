"""Exact search on a GPU: a copy of the rows lies on the device, and what has changed since is looked at here.

FAISS's GPU indexes cannot remove or replace rows, find at most 2,048 of them and must be asked by one thread at a
time. So the copy is only ever replaced as a whole, its rows that have changed are left out of its answers, and
searches that need more or have a filter are answered from the processor's memory. The device scores in half precision;
what it finds is scored again exactly.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from memesearch.search.index.base import Among, Found
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.rows import Vectors, best_first, scores_of

log = logging.getLogger(__name__)
MOST_FOUND = 2048  # FAISS's limit on a GPU
SPARE = 32  # rows more than wanted, because the device rounds
MOST_CHANGED = 512  # rows, before the copy is made anew; the device has to find that many more
AT_ONCE = 2**15  # rows that go to the device in one piece


class Device(Protocol):
    """The part of a FAISS index that is used of a copy."""

    def add(self, vectors: NDArray[np.float32]) -> None: ...
    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]: ...


def gpu_is_there() -> bool:
    """Whether this is faiss-gpu and it sees a device."""
    return hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0


def on_first_gpu(dimensions: int) -> Any:
    """An empty index on the first GPU that stores float16."""
    gpu: Any = faiss
    config = gpu.GpuIndexFlatConfig()
    config.useFloat16 = True
    resources = gpu.StandardGpuResources()
    index = gpu.GpuIndexFlatIP(resources, dimensions, config)
    index.resources = resources  # which have to live as long
    return index


class GpuExactIndex(ExactIndex):
    """An ExactIndex whose searches are answered by a device as far as it can."""

    def __init__(self, dimensions: int, empty: Callable[[int], Device] = on_first_gpu) -> None:
        super().__init__(dimensions)
        self._empty = empty
        self._device: Device | None = None
        self._copied = 0  # rows of the copy
        self._changed: set[int] = set()  # rows that are not as in the copy
        self._asking = threading.Lock()
        self._refused = False

    def _best(self, query: NDArray[np.float32], count: int, among: Among | None) -> Found:
        asked = int(count * 1.1) + SPARE + len(self._changed)
        if self._device is None or among is not None or asked > MOST_FOUND:
            return super()._best(query, count, among)
        with self._asking:
            _, found = self._device.search(query.reshape(1, -1), min(asked, self._copied))
        rows = found[0][found[0] >= 0]
        changed = np.fromiter((row for row in self._changed if row < self.rows), np.int64)
        rows = np.concatenate([rows[~np.isin(rows, changed) & (rows < self.rows)], changed])
        scores = scores_of(self._vectors, rows, query)
        order = best_first(scores, count)
        return scores[order], self._ids[rows[order]]

    def maintain(self) -> bool:
        """Copy the rows to the device when enough have changed."""
        with self._lock.reading():
            few = len(self._changed) <= MOST_CHANGED
            if self._refused or not self.rows or (few and self._device is not None):
                return False
        try:
            self._copy()
        except RuntimeError as error:  # what FAISS raises when the device's memory is full
            log.warning("the GPU does not take the vectors, searches go on without it: %s", error)
            self._refused = True
        return not self._refused

    def _copy(self) -> None:
        fresh = self._empty(self.dimensions)
        with self._lock.writing():
            self._device, self._changed, total = None, set(), self.rows
        copied = 0
        while copied < total:
            with self._lock.reading():
                block: Vectors = self._vectors[copied : min(copied + AT_ONCE, total, self.rows)].copy()
            if not len(block):
                break
            fresh.add(block.astype(np.float32))
            copied += len(block)
        with self._lock.writing():
            self._device, self._copied = fresh, copied
            self._changed |= set(range(copied, self.rows))

    def _note(self, rows: Iterable[int]) -> None:
        rows = list(rows)
        super()._note(rows)
        self._changed.update(rows)
