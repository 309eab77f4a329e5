"""The milvus index against a real Milvus server, $MSE_MILVUS_URI (http://HOST:19530); skipped where none is named.

Collections of its own are made and dropped there. docs/scaling.md says which server it was tried with.
"""

import os
import time
import uuid
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from milvus_life import CHANGES, DIMENSIONS, agree, ids_of, live_through, unit_vectors

from memesearch.errors import ConfigError
from memesearch.search.index.base import PARTS, Among, Effort
from memesearch.search.index.milvus import MilvusIndex
from memesearch.search.index.milvus_search import LIMIT, READ

URI = os.environ.get("MSE_MILVUS_URI", "")
pytestmark = pytest.mark.skipif(not URI, reason="no Milvus server is named: set MSE_MILVUS_URI=http://HOST:19530")


@pytest.fixture
def name() -> Iterator[str]:
    """Of a collection that is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    yield name
    drop(name)


def drop(name: str) -> None:
    from pymilvus import MilvusClient

    client = MilvusClient(URI, dedicated=True)
    for collection in (name, f"{name}_position"):
        client.drop_collection(collection)
    client.close()


@pytest.fixture
def index(name: str) -> Iterator[MilvusIndex]:
    index = MilvusIndex(URI, name, DIMENSIONS)
    yield index
    index.close()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=CHANGES, seed=st.integers(0, 2**32 - 1), k=st.integers(1, 20))
def test_after_any_changes_a_server_answers_as_a_dictionary_of_vectors_would(
    changes: list[tuple[str, Any]], seed: int, k: int
) -> None:
    name = f"test_{uuid.uuid4().hex}"
    try:
        live_through(URI, name, changes, seed, k)
    finally:
        drop(name)


def test_what_was_removed_is_not_found_by_the_next_search(index: MilvusIndex) -> None:
    vectors = unit_vectors(np.random.default_rng(0), 5)
    for _ in range(3):
        index.add(ids_of(range(5)), vectors)
        index.remove(np.array([1]))
        assert sorted(index.search(vectors[1].astype(np.float32), 5)[1].tolist()) == [0, 2, 3, 4]


def test_a_content_that_loses_parts_is_found_by_those_it_has(index: MilvusIndex) -> None:
    vectors = unit_vectors(np.random.default_rng(1), PARTS)
    index.add(np.arange(PARTS), vectors)
    index.add(np.arange(1), vectors[:1])
    scores, contents = index.search(vectors[9].astype(np.float32), 5)
    assert contents.tolist() == [0]
    assert abs(scores[0] - float(vectors[9].astype(np.float32) @ vectors[0].astype(np.float32))) < 1e-3
    assert (index.stats().contents, index.stats().vectors) == (1, 1)


@pytest.mark.parametrize("sealed", [False, True])
def test_filters_of_any_size_find_what_they_keep(index: MilvusIndex, name: str, sealed: bool) -> None:
    random = np.random.default_rng(2)
    vectors = unit_vectors(random, 20_000)
    vectors[:, 0] = 1 - np.arange(20_000) / 10_000  # the later a picture, the less it is like the query
    vectors = (vectors / np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)).astype(np.float16)
    index.add(ids_of(range(20_000)), vectors)
    if sealed:
        with index._milvus.asking() as client:
            client.flush(name)
    query = np.eye(DIMENSIONS, dtype=np.float32)[0]
    for kept in ([19_999], range(19_000, 19_050), range(15_000, 20_000), range(0, 20_000, 3), range(5, 20_000)):
        agree(index, {content: vectors[content : content + 1] for content in kept}, query, 10, Among(np.array(kept)))
    assert len(index.search(query, 10, Among(np.array([20_001], np.int64)))[0]) == 0
    assert len(index.search(query, 50_000)[0]) == LIMIT


def test_a_filter_that_keeps_few_pictures_of_many_finds_them(name: str) -> None:
    random, dimensions = np.random.default_rng(3), 64
    index = MilvusIndex(URI, name, dimensions)
    vectors = unit_vectors(random, 60_000, dimensions)
    index.add(ids_of(range(60_000)), vectors)
    for kept in (1, 10, READ):
        for query in random.standard_normal((5, dimensions)).astype(np.float32):
            chosen = np.sort(random.choice(60_000, kept, replace=False))
            held = {content: vectors[content : content + 1] for content in chosen.tolist()}
            agree(index, held, query, 20, Among(chosen))
    index.close()


def test_a_search_of_the_graph_finds_more_the_further_it_looks(name: str) -> None:
    random, dimensions = np.random.default_rng(6), 96
    vectors = unit_vectors(random, 20_000, dimensions)
    index = MilvusIndex(URI, name, dimensions)
    index.add(ids_of(range(20_000)), vectors)

    def found(effort: Effort | None) -> float:
        hits = 0
        for query in unit_vectors(np.random.default_rng(7), 20, dimensions).astype(np.float32):
            best = np.argsort(-(vectors.astype(np.float32) @ query))[:10]
            hits += len(set(best.tolist()) & set(index.search(query, 10, None, "text", effort)[1].tolist()))
        return hits / 200

    with index._milvus.asking() as client:
        client.flush(name)
    for _ in range(120):
        if found(Effort(1.0, 1)) < 0.9:  # now it is the graph that answers
            break
        time.sleep(1)
    assert found(Effort(1.0, 1)) < 0.9 < found(None) <= found(index.trials()[-1])
    index.close()


def test_requests_stay_below_what_a_server_accepts(name: str) -> None:
    index = MilvusIndex(URI, name, 1152)
    index.add(ids_of(range(2500)), unit_vectors(np.random.default_rng(4), 2500, 1152))  # 11.5 MB
    assert len(index) == 2500
    index.remove(np.arange(2500))
    assert len(index) == 0
    index.close()


def test_the_position_survives_reopening_and_goes_with_the_data(name: str) -> None:
    index = MilvusIndex(URI, name, DIMENSIONS)
    assert index.position() is None
    index.set_position("a library", 41)
    index.set_position("a library", 42)
    index.close()
    again = MilvusIndex(URI, name, DIMENSIONS)
    assert again.position() == ("a library", 42)
    again.add(ids_of([7]), unit_vectors(np.random.default_rng(5), 1))
    again.clear()
    assert again.position() is None
    assert len(again) == 0
    again.close()


def test_a_collection_of_another_dimension_is_refused(index: MilvusIndex, name: str) -> None:
    assert len(index) == 0
    other = MilvusIndex(URI, name, 8)
    with pytest.raises(ConfigError, match="vectors of 16 numbers, not of 8"):
        other.search(np.ones(8, np.float32), 1)
    other.close()
