"""Bringing an index in step with what the store says has changed, and when that is worth keeping on disk."""

import numpy as np

from memesearch.search.index.base import PARTS, VectorIndex

SAVE_CHANGES = 20_000  # a start after a crash follows at most so many again, or
SAVE_SHARE = 0.25  # of what keeping the index writes, if that is more


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
