"""Small parts of the embedding service: slots, log lines, cores, batch sizes, precision."""

import asyncio
import logging
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from launched import PROJECT

from memesearch.clip.arena import PixelArena, runs
from memesearch.clip.cuda import MOST_SHAPES, padded_sizes
from memesearch.clip.engine import batch_for
from memesearch.clip.loading import Loaded, load_model
from memesearch.clip.model import ClipModel, Dtypes
from memesearch.clip.precision import LEAST_COSINE, TEXTS, choose_precision, sample_pictures, why_not
from memesearch.errors import ConfigError
from memesearch.machine import usable_cores
from memesearch.seldom import Seldom

CPU = torch.device("cpu")


@pytest.fixture
def loaded() -> Loaded:
    return load_model(f"local-dir:{PROJECT / 'demo/model'}")


def arena(slots: int, reserve: int = 0) -> PixelArena:
    return PixelArena(np.zeros((slots, 2, 2, 3), np.uint8), reserve)


async def test_slots_are_lent_once_side_by_side_and_come_back() -> None:
    places = arena(6)
    async with places.slots(4, interactive=False) as first, places.slots(2, interactive=False) as second:
        assert (first, second) == ([0, 1, 2, 3], [4, 5])
        waiting = asyncio.create_task(places.slots(3, interactive=False).__aenter__())
        await asyncio.sleep(0.01)
        assert not waiting.done()
    assert await waiting == [0, 1, 2]


async def test_bulk_leaves_the_reserve_to_interactive_requests() -> None:
    places = arena(4, reserve=2)
    async with places.slots(2, interactive=False):
        bulk = asyncio.create_task(places.slots(1, interactive=False).__aenter__())
        await asyncio.sleep(0.01)
        assert not bulk.done()
        async with places.slots(2, interactive=True) as slots:
            assert slots == [2, 3]
    assert await bulk == [0]


async def test_who_gives_up_waiting_for_slots_takes_none() -> None:
    places = arena(2)
    async with places.slots(2, interactive=False):
        waiting = asyncio.create_task(places.slots(1, interactive=False).__aenter__())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(5), places.slots(2, interactive=False) as slots:
        assert slots == [0, 1]
    with pytest.raises(ValueError, match="3 slots of 2"):
        async with places.slots(3, interactive=False):
            pass


def test_runs_are_slots_that_lie_side_by_side_in_the_given_order() -> None:
    assert runs([0, 1, 2, 5, 6, 4]) == [(0, 3), (5, 7), (4, 5)]
    assert runs([]) == []


def test_a_repeated_problem_is_logged_once_with_how_often_it_happened(caplog: pytest.LogCaptureFixture) -> None:
    seldom = Seldom(logging.getLogger("test"), seconds=0.05)
    for _ in range(10_000):
        seldom.warning("kind", "it happened")
    seldom.warning("other", "something else")
    assert 2 <= len(caplog.records) < 20
    assert caplog.records[0].message == "it happened"
    quiet = Seldom(logging.getLogger("test"), seconds=1000)
    caplog.clear()
    for _ in range(3):
        quiet.warning("kind", "it happened")
    quiet._said["kind"] = -1000
    quiet.warning("kind", "it happened")
    assert [record.message for record in caplog.records][1:] == [
        "it happened (and 2 times more since it was last said)"
    ]


def test_a_containers_quota_limits_the_cores(tmp_path: Path) -> None:
    everything = usable_cores(tmp_path)
    assert everything >= 1
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert usable_cores(tmp_path) == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path) == everything


@pytest.mark.parametrize("most", [1, 2, 3, 48, 64, 300, 1000])
def test_padded_batch_sizes_are_few_grow_and_end_with_the_largest(most: int) -> None:
    sizes = padded_sizes(most)
    assert sizes[-1] == most
    assert len(sizes) <= MOST_SHAPES
    assert all(small < large <= 2 * small for small, large in pairwise(sizes))


@pytest.mark.parametrize("most", [1, 2, 7, 64])
def test_a_cpus_batch_is_never_larger_than_allowed_and_never_nothing(loaded: Loaded, most: int) -> None:
    assert min(most, 2) <= batch_for(ClipModel(loaded, CPU), most) <= most


def test_the_chosen_precision_keeps_the_vectors(loaded: Loaded) -> None:
    samples = sample_pictures(loaded)
    exact = ClipModel(loaded, CPU).copy_to(CPU)
    chosen = choose_precision(loaded, CPU, "auto")
    assert why_not(chosen.encode_pixels(samples), exact.encode_pixels(samples)) is None
    assert why_not(chosen.encode_text(TEXTS), exact.encode_text(TEXTS)) is None
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        assert choose_precision(loaded, CPU, name).dtypes == Dtypes(dtype, dtype)  # type: ignore[arg-type]


def test_why_another_precision_is_refused_is_said() -> None:
    reference = np.eye(3, dtype=np.float16)
    broken = reference.copy()
    broken[1, 1] = np.inf
    assert why_not(broken, reference) == "gives vectors that are not finite"
    turned = np.array([[1, 0, 0], [0, 1, 0], [0, 0.1, 0.995]], np.float16)
    assert str(why_not(turned, reference)).startswith("changes a vector to cosine 0.99")
    assert float(turned[2, 2]) < LEAST_COSINE


def test_a_precision_that_overflows_is_a_clear_error_where_it_was_asked_for(loaded: Loaded) -> None:
    with torch.no_grad():
        next(weights for weights in loaded.module.visual.parameters() if weights.ndim == 4).mul_(1e5)
    with pytest.raises(ConfigError, match="not finite in float16; use `auto`"):
        choose_precision(loaded, CPU, "float16")
