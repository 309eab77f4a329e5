"""The index that answers, kept in step with the store by sequence number."""

import asyncio

import numpy as np

from memesearch.library.store import Store
from memesearch.search.index.flat import PARTS, FlatIndex

CHANGES_AT_ONCE = 1024  # keeps the memory that building takes small


class LiveIndex:
    """A FlatIndex for one model, and how far it has followed the store's changes."""

    def __init__(self, store: Store, model: int, model_id: str, dimensions: int) -> None:
        self.model = model
        self.model_id = model_id
        self.flat = FlatIndex(dimensions)
        self._store = store
        self._seq = 0
        self._following = asyncio.Lock()

    async def catch_up(self) -> None:
        """Follow the store up to now; from nothing, this is how the index is built at start."""
        async with self._following:
            while True:
                seq, touched, rows = await self._store.changes_after(self._seq, self.model, CHANGES_AT_ONCE)
                if not touched:
                    return
                ids = np.array([content * PARTS + part for content, part, _ in rows], np.int64)
                joined = b"".join(vector for _, _, vector in rows)
                vectors = np.frombuffer(joined, "<f2").reshape(len(rows), self.flat.dimensions)
                await asyncio.to_thread(self.flat.replace, np.array(touched, np.int64), ids, vectors)
                self._seq = seq
