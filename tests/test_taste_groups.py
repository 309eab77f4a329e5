"""Near-duplicate groups against a plain comparison of all pairs."""

import numpy as np
import pytest
from numpy.typing import NDArray

from memesearch.taste import groups
from memesearch.taste.groups import near_duplicate_groups, near_pairs


def unit(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def memes(count: int, dimensions: int, seed: int = 0) -> NDArray[np.float32]:
    """Vectors in clusters, with near-duplicates of every degree among them."""
    random = np.random.default_rng(seed)
    spectrum = np.arange(1, dimensions + 1) ** -0.4
    rows = random.normal(size=(count, dimensions)) * spectrum
    copies = random.integers(0, count, count // 3)
    rows[random.permutation(count)[: len(copies)]] = rows[copies] + random.normal(
        size=(len(copies), dimensions)
    ) * spectrum * random.choice([0.0, 0.05, 0.2, 0.4], (len(copies), 1))
    return unit(rows)


def reference(vectors: NDArray[np.float32], similarity: float) -> list[int]:
    """Union-find over every pair."""
    parent = list(range(len(vectors)))

    def find(row: int) -> int:
        while parent[row] != row:
            row = parent[row]
        return row

    products = vectors @ vectors.T
    for first, second in np.argwhere(np.triu(products >= similarity, 1)):
        low, high = sorted((find(int(first)), find(int(second))))
        parent[high] = low
    return [find(row) for row in range(len(vectors))]


@pytest.mark.parametrize("similarity", [0.8, 0.95, 0.99])
def test_groups_are_the_connected_components_of_all_near_pairs(similarity: float) -> None:
    vectors = memes(600, 96)
    found = near_duplicate_groups(vectors, similarity, largest=len(vectors))
    assert found.dtype == np.int64
    assert found.tolist() == reference(vectors, similarity)
    assert 100 < len(set(found.tolist())) < 600


def test_the_short_vectors_for_many_rows_lose_no_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = memes(1500, 400)
    expected = reference(vectors, 0.9)
    monkeypatch.setattr(groups, "FEW", 0)
    monkeypatch.setattr(groups, "BLOCK", 100_000)
    assert near_duplicate_groups(vectors, 0.9, largest=len(vectors)).tolist() == expected
    bounds = groups.projected(vectors)
    assert bounds.shape == (1500, 65)
    assert (bounds @ bounds.T >= vectors @ vectors.T - 1e-5).all()
    assert 100 < sum(len(first) for first, _ in near_pairs(vectors, 0.9)) < 10_000


def test_a_chain_through_unlike_pictures_is_taken_apart_but_copies_stay_together() -> None:
    angles = np.arange(80) * np.arccos(0.96)  # each is near the next, the whole goes round the circle
    uneven = angles + np.where(np.arange(80) % 2, 0.2, 0.0)  # pairs of two that are nearer than the rest
    chain = np.column_stack([np.cos(uneven / 4), np.sin(uneven / 4), np.zeros(80)])
    copies = np.tile([0.0, 0.0, 1.0], (60, 1))
    vectors = unit(np.concatenate([chain, copies]))
    whole = near_duplicate_groups(vectors, 0.95, largest=1000)
    assert len(set(whole[:80])) == 1
    guarded = near_duplicate_groups(vectors, 0.95)
    assert max(np.bincount(guarded[:80])) <= 50
    assert set(guarded[80:]) == {80}


def test_one_picture_or_none_is_no_trouble_and_nonsense_is_refused() -> None:
    assert near_duplicate_groups(np.zeros((0, 8), np.float32), 0.95).tolist() == []
    assert near_duplicate_groups(np.ones((1, 8), np.float32), 0.95).tolist() == [0]
    with pytest.raises(ValueError, match="at most 1"):
        near_duplicate_groups(np.ones((1, 8), np.float32), 1.2)
    with pytest.raises(ValueError, match="finite"):
        near_duplicate_groups(np.full((2, 8), np.nan, np.float32), 0.95)
