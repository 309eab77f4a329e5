"""The exact index beside a dictionary of numpy vectors."""

import threading

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from memesearch.search.index.flat import PARTS, FlatIndex

DIMENSIONS = 16
CHANGES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(0, 3)),  # content, number of parts; no parts: removed
    max_size=40,
)


def reference(held: dict[int, np.ndarray], query: np.ndarray) -> dict[int, float]:
    """Each content's best inner product, computed in float32 from the float16 values."""
    return {content: float((rows.astype(np.float32) @ query).max()) for content, rows in held.items()}


@settings(max_examples=60, deadline=None)
@given(changes=CHANGES, seed=st.integers(0, 2**32 - 1), k=st.integers(1, 20))
def test_after_any_changes_it_answers_as_a_dictionary_of_vectors_would(
    changes: list[tuple[int, int]], seed: int, k: int
) -> None:
    random = np.random.default_rng(seed)
    index, held = FlatIndex(DIMENSIONS), {}
    for content, parts in changes:
        rows = random.standard_normal((parts, DIMENSIONS)).astype(np.float16)
        ids = np.array([content * PARTS + part for part in range(parts)], np.int64)
        index.replace(np.array([content], np.int64), ids, rows)
        held.pop(content, None)
        if parts:
            held[content] = rows
    assert len(index) == len(held)
    query = random.standard_normal(DIMENSIONS).astype(np.float32)
    scores, contents = index.search(query, k)
    expected = reference(held, query)
    assert len(contents) == min(k, len(held))
    assert len(set(contents.tolist())) == len(contents)
    np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:k], rtol=1e-4, atol=1e-4)
    for score, content in zip(scores.tolist(), contents.tolist(), strict=True):
        assert abs(expected[content] - score) < 1e-3


def test_an_empty_index_answers_nothing() -> None:
    scores, contents = FlatIndex(DIMENSIONS).search(np.ones(DIMENSIONS, np.float32), 10**9)
    assert len(scores) == len(contents) == 0


def test_searches_without_end_do_not_keep_a_change_out() -> None:
    index = FlatIndex(4)
    index.replace(np.arange(1), np.zeros(1, np.int64), np.ones((1, 4), np.float16))
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            index.search(np.ones(4, np.float32), 1)

    readers = [threading.Thread(target=search) for _ in range(4)]
    for reader in readers:
        reader.start()
    writer = threading.Thread(
        target=index.replace, args=(np.array([1]), np.array([PARTS]), np.ones((1, 4), np.float16))
    )
    writer.start()
    writer.join(60)
    stop.set()
    assert not writer.is_alive()
    assert len(index) == 2
