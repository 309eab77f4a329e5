"""What is told of an index while it is built: by the process that builds, in progress, in metrics, in the log."""

import threading
from pathlib import Path

import numpy as np
import pytest
from index_life import Life, named
from prometheus_client import REGISTRY

from memesearch.backend.status import describe_index, tell_of_index
from memesearch.library.progress import Progress
from memesearch.search.index.base import PARTS
from memesearch.search.index.builder import follow
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.plan import Plan

DIMENSIONS = 24


def full_index(folder: Path) -> CompactIndex:
    """One that seals at the next `maintain`, in a process of its own."""
    index = CompactIndex(folder, DIMENSIONS, Plan(DIMENSIONS, 2, mutable_rows=40))
    index.add(np.arange(60) * PARTS, np.random.default_rng(1).standard_normal((60, DIMENSIONS)).astype(np.float16))
    return index


def test_a_building_process_that_says_a_lot_does_not_stand_still(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONVERBOSE", "1")  # far more than a pipe holds
    index, told = full_index(tmp_path), []
    index.progress = lambda done, total: told.append((done, total))
    work = threading.Thread(target=index.maintain)
    work.start()
    work.join(60)
    ended = not work.is_alive()
    index.close()
    work.join()
    assert ended
    assert index.stats().segments == 1
    assert told[-1] == (60, 60)


def test_why_a_part_cannot_be_built_is_the_last_thing_that_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = full_index(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys, faiss\ndef no(*_): sys.exit('no device')\nfaiss.Kmeans.train = no"
    )
    with pytest.raises(OSError, match=r"^a part of the index cannot be built: no device$"):
        index.maintain()
    assert len(index) == 60
    index.close()


def test_progress_is_told_and_words_between_it_are_kept() -> None:
    told: list[tuple[int, int]] = []
    lines = ["[1,9]\n", "a warning\n", "[2,9]\n", "\n", "[3]\n", '{"x": 1}\n', "no room\n", "\n", "[9,9]\n"]
    assert follow(lines, lambda done, total: told.append((done, total))) == "no room"
    assert told == [(1, 9), (2, 9), (9, 9)]


def test_work_that_was_not_announced_is_no_progress() -> None:
    progress = Progress()
    progress.advance(27)
    assert (progress.report().done, progress.report().total) == (0, 0)
    progress.start("building", 10)
    progress.advance(4)
    assert (progress.report().done, progress.report().total) == (4, 10)


async def test_an_index_that_follows_a_few_changes_is_not_being_built(tmp_path: Path) -> None:
    life = Life(tmp_path)
    async with life.opened("exact") as (store, index):
        await life.add(store, named("a", 27))
        index.progress.start("building", 100)  # a change to another kind of index, meanwhile
        await index.catch_up()
        assert index.progress.report().state == "building"
        index.progress.finish()
        await life.add(store, named("b", 27))
        await index.catch_up()
        await life.agrees(store, index)
        assert describe_index(index, None)["building"].state == "idle"  # type: ignore[index]


async def test_metrics_tell_how_much_of_the_index_is_still_to_be_built(tmp_path: Path) -> None:
    async with Life(tmp_path).opened("exact") as (_, index):
        index.progress.start("building", 100)
        index.progress.advance(30)
        tell_of_index(index)
        assert REGISTRY.get_sample_value("mse_index_building_left") == 70
        index.progress.finish()
        tell_of_index(index)
        assert REGISTRY.get_sample_value("mse_index_building_left") == 0


def test_the_cost_of_an_index_is_told_in_bits_of_a_number() -> None:
    assert "of 512 numbers at 1 bit a number: about" in Plan(512, 1).describe(1000)
    assert "of 512 numbers at 2 bits a number: about" in Plan(512, 2).describe(1000)
