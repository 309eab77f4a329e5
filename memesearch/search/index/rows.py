"""Rows of float16 vectors in memory that somebody else owns: an array or a mapped file."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from memesearch.search.index.base import Ids

AT_ONCE = 256  # rows that are gathered and multiplied while they lie in the processor's cache

Vectors = NDArray[np.float16]


def scanner(vectors: Vectors) -> Any:
    """A FAISS index that scans `vectors` [n, d] where they lie, exactly and without a copy.

    The array has to outlive the index. FAISS can look at memory that it does not own (it does so for mapped
    files), but offers no Python call for it, so the fields of its code vector are set.
    """
    count, dimensions = vectors.shape
    index: Any = faiss.IndexScalarQuantizer(dimensions, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    if count:
        codes, address = index.codes, faiss.swig_ptr(vectors.view(np.uint8).reshape(-1))
        codes.is_owned = False
        codes.view_data = codes.c_ptr = address
        codes.view_size = codes.c_size = vectors.nbytes
        index.ntotal = count
    return index


def selector(bits: NDArray[np.uint8]) -> Any:
    """Lets FAISS find only rows whose bit is set. Whoever uses it has to hold it, for FAISS keeps its address."""
    make: Any = faiss.IDSelectorBitmap
    return make(bits)


def scan(
    vectors: Vectors, query: NDArray[np.float32], k: int, mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[np.float32], Ids]:
    """The `k` rows with the largest inner product with `query` [d], best first; only those that `mask` [n] allows."""
    if k <= 0 or not len(vectors):
        return np.empty(0, np.float32), np.empty(0, np.int64)
    parameters = None
    if mask is not None:
        allowed = selector(np.packbits(mask, bitorder="little"))
        parameters = faiss.SearchParameters()
        parameters.sel = allowed
    scores, rows = scanner(vectors).search(query.reshape(1, -1), min(k, len(vectors)), params=parameters)
    found = rows[0] >= 0
    return scores[0][found], rows[0][found]


def scores_of(vectors: Vectors, rows: Ids, query: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n]: inner products of the rows with `query` [d]."""
    scores = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        scores[chosen] = vectors[rows[chosen]].astype(np.float32) @ query
    return scores


def best_first(scores: NDArray[np.float32], k: int) -> Ids:
    """Positions of the `k` largest scores, the largest first; the earlier of two equal ones first."""
    if k < len(scores):
        top = np.argpartition(-scores, k - 1)[:k]
        top.sort()
        return top[np.argsort(-scores[top], kind="stable")]
    return np.argsort(-scores, kind="stable")
