"""A milvus index beside a dictionary of numpy vectors: what it is put through, and what it has to answer then."""

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from memesearch.search.index.base import PARTS, Among
from memesearch.search.index.milvus import MilvusIndex

DIMENSIONS = 16
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.lists(st.tuples(st.integers(0, 12), st.integers(1, 4)), min_size=1, max_size=5)),
        st.tuples(st.just("remove"), st.lists(st.integers(0, 14), max_size=4)),
        st.tuples(st.just("reopen"), st.booleans()),  # with a snapshot before it or without
    ),
    max_size=12,
)


def unit_vectors(random: np.random.Generator, rows: int, dimensions: int = DIMENSIONS) -> np.ndarray:
    vectors = random.standard_normal((rows, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


def ids_of(contents: np.ndarray | list[int]) -> np.ndarray:
    """Ids of contents that have one part."""
    return np.asarray(contents, np.int64) * PARTS


def put(index: MilvusIndex, held: dict[int, np.ndarray], parts: dict[int, int], random: np.random.Generator) -> None:
    rows = {content: unit_vectors(random, count) for content, count in parts.items()}
    ids = [content * PARTS + part for content, count in parts.items() for part in range(count)]
    index.add(np.array(ids, np.int64), np.concatenate(list(rows.values())))
    held.update(rows)


def agree(index: MilvusIndex, held: dict[int, np.ndarray], query: np.ndarray, k: int, among: Among | None) -> None:
    expected = {content: float((rows.astype(np.float32) @ query).max()) for content, rows in held.items()}
    if among is not None:
        expected = {content: score for content, score in expected.items() if content in among.contents}
    scores, contents = index.search(query, k, among)
    assert len(contents) == min(k, len(expected)) == len(set(contents.tolist()))
    tolerance = 1e-3 * max(1.0, float(np.linalg.norm(query)))
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:k], rtol=0, atol=tolerance)
    for score, content in zip(scores.tolist(), contents.tolist(), strict=True):
        assert abs(expected[content] - score) < tolerance


def live_through(uri: str, name: str, changes: list[tuple[str, Any]], seed: int, k: int) -> None:
    """Change an index as `CHANGES` says, and compare it with the dictionary."""
    random = np.random.default_rng(seed)
    held: dict[int, np.ndarray] = {}
    index = MilvusIndex(uri, name, DIMENSIONS)
    try:
        for what, of in changes:
            if what == "put":
                put(index, held, dict(of), random)
            elif what == "remove":
                index.remove(np.array(of, np.int64))
                held = {content: rows for content, rows in held.items() if content not in of}
            else:
                if of:
                    assert index.snapshot(Path()).kind == "milvus"
                index.close()
                index = MilvusIndex(uri, name, DIMENSIONS)
            assert len(index) == len(held)
        query = random.standard_normal(DIMENSIONS).astype(np.float32) * 3
        agree(index, held, query, k, None)
        agree(index, held, query, k, Among(np.flatnonzero(random.random(14) < 0.5)))
        stats = index.stats()
        assert (stats.contents, stats.vectors) == (len(held), sum(len(rows) for rows in held.values()))
    finally:
        index.close()
