"""Bringing an index in step with what the store says has changed, and when that is worth keeping on disk."""

import asyncio
from typing import Protocol

import numpy as np

from memesearch.search.index.base import PARTS, VectorIndex

SAVE_CHANGES = 20_000  # a start after a crash follows at most so many again, or
SAVE_SHARE = 0.25  # of what keeping the index writes, if that is more
LOOK_SECONDS = 1.0  # between looks for something to merge
MERGE_AGAIN_SECONDS = 60.0  # after a merge that failed


class Growing(Protocol):
    """What `grow` needs of an index that follows the store: see `LiveIndex`."""

    @property
    def vectors(self) -> VectorIndex: ...
    async def catch_up(self) -> None: ...
    async def save(self) -> None: ...
    def tell(self, problem: str) -> None: ...


async def grow(index: Growing) -> None:
    """Follow the store up to now, and merge beside that, so that searches stay quick while millions are followed.

    What remains to be merged then is left to `VectorIndex.maintain`.

    Raises:
        Unavailable: the database or Milvus cannot be reached.
    """
    following = asyncio.create_task(index.catch_up())
    try:
        await merge_beside(following, index)
        await following
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def merge_beside(following: "asyncio.Task[None]", index: Growing) -> None:
    """Until that is done; each result is kept."""
    while not following.done():
        pause = LOOK_SECONDS
        try:
            if await asyncio.to_thread(index.vectors.merge, True):
                await index.save()
                continue
        except OSError as error:  # such as a full disk; all of it can be found all the same
            index.tell(str(error))
            pause = MERGE_AGAIN_SECONDS
        await asyncio.wait([following], timeout=pause)


def apply(vectors: VectorIndex, touched: list[int], rows: list[tuple[int, int, bytes]]) -> None:
    """Give the index what is searchable now, (content, part, vector) in float16, of the contents that were touched."""
    here = {content for content, _, _ in rows}
    vectors.remove(np.array([content for content in touched if content not in here], np.int64))
    if rows:
        ids = np.array([content * PARTS + part for content, part, _ in rows], np.int64)
        joined = b"".join(vector for _, _, vector in rows)
        vectors.add(ids, np.frombuffer(joined, "<f2").reshape(len(rows), vectors.dimensions))


def is_much(vectors: VectorIndex, changes: int) -> bool:
    """Whether so many changes are worth keeping the index anew."""
    return changes >= max(SAVE_CHANGES, SAVE_SHARE * vectors.snapshot_rows())
