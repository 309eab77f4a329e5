"""Vectors of the first implementation's database: taken over when they are of today's model.

Two models may make vectors of one size, so the size proves nothing: a few pictures are embedded anew, and only if
they come out the same are the others taken over.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable

import numpy as np

from memesearch import wire
from memesearch.library.records import FileStat
from memesearch.library.store import Store

log = logging.getLogger(__name__)
SAMPLE = 8
LEAST_COSINE = 0.98  # of the same picture: another decoder or precision stays above it, another model far below
SAME_TIME = 1e-3  # seconds; the old database kept times as floats

Embed = Callable[[FileStat], Awaitable[bytes | None]]


class OldVectors:
    """What is left of an old database, for one run over the library's files."""

    def __init__(self, store: Store, dimensions: int) -> None:
        self._store, self._dimensions = store, dimensions
        self._times: dict[str, float] = {}

    async def load(self, files: Iterable[FileStat], embed: Embed) -> None:
        """Find out which old vectors are there, and whether they are today's model's.

        Args:
            embed: today's vector of one file, None when the file cannot be embedded.
        """
        self._times = await self._store.old_files(2 * self._dimensions)
        if not self._times:
            return
        cosines: list[float] = []
        for file in files:
            if not self.has(file):
                continue
            if (today := await embed(file)) is not None:
                cosines.append(float(unit(await self._store.old_vector(file.path)) @ unit(today)))
            if len(cosines) == SAMPLE:
                break
        if cosines and np.median(cosines) < LEAST_COSINE:
            log.warning(
                "the old database's vectors are another model's (cosine %.2f on %d pictures): they are not used",
                np.median(cosines),
                len(cosines),
            )
            self._times = {}

    def has(self, file: FileStat) -> bool:
        """Whether there is an old vector of this very file."""
        return abs(self._times.get(file.path, -1.0) - file.mtime_ns / 1e9) < SAME_TIME

    async def vector(self, file: FileStat) -> bytes | None:
        """The old vector of this file as float16 of unit norm."""
        if not self.has(file):
            return None
        vector = unit(await self._store.old_vector(file.path))
        return wire.to_bytes(vector) if vector.any() else None

    async def forget(self, files: Iterable[FileStat]) -> None:
        """These files have vectors of their own now."""
        matched = [file.path for file in files if self._times.pop(file.path, None) is not None]
        if matched:
            await self._store.forget_old_vectors(matched)


def unit(raw: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """float32 of unit norm; all zeros for a vector that has no direction."""
    vector = wire.from_bytes(raw).astype(np.float32)
    norm = float(np.linalg.norm(vector))
    return vector / norm if np.isfinite(norm) and norm > 0 else np.zeros_like(vector)
