"""The exact index beside a dictionary of numpy vectors."""

import threading
from pathlib import Path

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memesearch.search.index.base import PARTS
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.gpu import GpuExactIndex

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
    index, held = ExactIndex(DIMENSIONS), {}
    for content, parts in changes:
        rows = random.standard_normal((parts, DIMENSIONS)).astype(np.float16)
        ids = np.array([content * PARTS + part for part in range(parts)], np.int64)
        if parts:
            index.add(ids, rows)
            held[content] = rows
        else:
            index.remove(np.array([content], np.int64))
            held.pop(content, None)
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
    scores, contents = ExactIndex(DIMENSIONS).search(np.ones(DIMENSIONS, np.float32), 10**9)
    assert len(scores) == len(contents) == 0


def test_an_id_that_comes_twice_is_refused_and_changes_nothing() -> None:
    index = ExactIndex(4)
    index.add(np.array([16]), np.eye(1, 4, dtype=np.float16))
    with pytest.raises(ValueError, match="twice"):
        index.add(np.array([16, 16]), np.eye(2, 4, dtype=np.float16))
    assert (len(index), index.rows) == (1, 1)


def test_searches_without_end_do_not_keep_a_change_out() -> None:
    index = ExactIndex(4)
    index.add(np.zeros(1, np.int64), np.ones((1, 4), np.float16))
    stop = threading.Event()

    def search() -> None:
        while not stop.is_set():
            index.search(np.ones(4, np.float32), 1)

    readers = [threading.Thread(target=search) for _ in range(4)]
    for reader in readers:
        reader.start()
    writer = threading.Thread(target=index.add, args=(np.array([PARTS]), np.ones((1, 4), np.float16)))
    writer.start()
    writer.join(60)
    stop.set()
    assert not writer.is_alive()
    assert len(index) == 2


class ProcessorInsteadOfGpu:
    """Rounds and finds as little as a GPU does, and refuses two questions at once."""

    def __init__(self, dimensions: int) -> None:
        self.index = faiss.IndexFlatIP(dimensions)
        self.busy = threading.Lock()

    def add(self, vectors: np.ndarray) -> None:
        self.index.add(vectors)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        assert k <= 2048
        assert self.busy.acquire(blocking=False)
        try:
            return self.index.search(queries.astype(np.float16).astype(np.float32), k)
        finally:
            self.busy.release()


@settings(max_examples=60, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 3), st.booleans()), max_size=40),
    seed=st.integers(0, 2**32 - 1),
    k=st.integers(1, 20),
)
def test_a_copy_on_a_device_answers_the_same_whatever_changes_after_it(
    changes: list[tuple[int, int, bool]], seed: int, k: int
) -> None:
    random = np.random.default_rng(seed)
    plain, index = ExactIndex(DIMENSIONS), GpuExactIndex(DIMENSIONS, ProcessorInsteadOfGpu)
    copied = 0
    for content, parts, copy in changes:
        rows = random.standard_normal((parts, DIMENSIONS)).astype(np.float16)
        for each in (plain, index):
            if parts:
                each.add(content * PARTS + np.arange(parts), rows)
            else:
                each.remove(np.array([content], np.int64))
        if copy and plain.rows:
            index._copy()
            copied += 1
    query = random.standard_normal(DIMENSIONS).astype(np.float32)
    scores, contents = index.search(query, k)
    expected = plain.search(query, k)
    np.testing.assert_allclose(scores, expected[0], atol=1e-4)
    assert sorted(contents.tolist()) == sorted(expected[1].tolist())


def test_the_device_gets_the_rows_first_and_then_only_when_many_have_changed() -> None:
    index = GpuExactIndex(4, ProcessorInsteadOfGpu)
    assert not index.maintain()
    index.add(np.arange(10) * PARTS, np.ones((10, 4), np.float16))
    assert index.maintain()
    assert not index.maintain()
    index.add(np.arange(5000) * PARTS, np.ones((5000, 4), np.float16))
    assert index.maintain()


def test_a_device_without_room_is_done_without() -> None:
    class Full(ProcessorInsteadOfGpu):
        def add(self, vectors: np.ndarray) -> None:
            raise RuntimeError("out of memory")

    index = GpuExactIndex(4, Full)
    index.add(np.arange(10) * PARTS, np.eye(10, 4).astype(np.float16))
    assert not index.maintain()
    assert not index.maintain()
    assert index.search(np.eye(4, dtype=np.float32)[2], 1)[1].tolist() == [2]


def named(contents: np.ndarray) -> np.ndarray:
    """Vectors that tell which content they are of, long enough that writing them takes a while."""
    vectors = np.zeros((len(contents), 512), np.float16)
    vectors[:, 0], vectors[:, -1] = contents % 1000, contents // 1000
    return vectors


def test_what_is_written_while_rows_change_is_one_moment(tmp_path: Path) -> None:
    index = ExactIndex(512)
    index.add(np.arange(20_000) * PARTS, named(np.arange(20_000)))
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.wait(0.0005):
            number += 1
            index.remove(np.array([number % 20_000]))
            come = np.array([number * 7 % 30_000])
            index.add(come * PARTS, named(come))

    writer = threading.Thread(target=change)
    writer.start()
    try:
        written = [index.write(tmp_path) for _ in range(8)]
    finally:
        stop.set()
        writer.join()
    for rows in written:
        ids, vectors = ExactIndex.read(tmp_path, rows, 512).copy()
        assert len(ids) == rows.count
        np.testing.assert_array_equal(vectors, named(ids // PARTS))
