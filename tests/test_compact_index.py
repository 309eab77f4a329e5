"""The compact index beside a dictionary of numpy vectors, through sealing, merging, snapshots and crashes."""

import errno
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from memesearch.search.index import build, merging, segment
from memesearch.search.index.base import PARTS, Among, Effort, Snapshot
from memesearch.search.index.build import Job, Tell
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.plan import ROW_OVERHEAD, Plan

DIMENSIONS = 24
FULL = Effort(1.0, 10_000)  # every list, and every candidate ranked exactly


def make_index(folder: Path, bits: int = 2, builder: Callable[[Job, Tell], None] = build.build) -> CompactIndex:
    index = CompactIndex(folder, DIMENSIONS, Plan(DIMENSIONS, bits, mutable_rows=40), builder)
    index.efforts = {"picture": FULL, "text": FULL}
    return index


def unit(random: np.random.Generator, count: int) -> np.ndarray:
    rows = random.standard_normal((count, DIMENSIONS))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever happens, the index answers as a dictionary of vectors would."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(mkdtemp(prefix="compact"))
        self.held: dict[int, np.ndarray] = {}
        self.kept: tuple[Snapshot, dict[int, np.ndarray]] | None = None
        self.random = np.random.default_rng(0)
        self.meanwhile: Callable[[], None] = lambda: None

    @initialize(bits=st.sampled_from([1, 2]))
    def start(self, bits: int) -> None:
        self.bits = bits
        self.index = make_index(self.folder, bits, self.build)

    @rule(first=st.integers(0, 200), count=st.integers(1, 60), parts=st.integers(1, 3))
    def add(self, first: int, count: int, parts: int) -> None:
        contents = range(first, first + count)
        vectors = unit(self.random, count * parts)
        ids = np.array([content * PARTS + part for content in contents for part in range(parts)])
        self.index.add(ids, vectors)
        for number, content in enumerate(contents):
            self.held[content] = vectors[number * parts : (number + 1) * parts]

    @rule(first=st.integers(0, 250), count=st.integers(0, 80))
    def remove(self, first: int, count: int) -> None:
        self.index.remove(np.arange(first, first + count))
        for content in range(first, first + count):
            self.held.pop(content, None)

    @rule(first=st.integers(0, 250), count=st.integers(0, 30), again=st.booleans())
    def maintain(self, first: int, count: int, again: bool) -> None:
        """Sealing or merging, while contents go and come."""

        def meanwhile() -> None:
            self.meanwhile = lambda: None
            self.remove(first, count)
            if again and count:
                self.add(first, count, 2)
                self.index.seal(wait=False)  # beside a merge
                self.add(first, count // 2, 1)

        self.meanwhile = meanwhile
        self.index.maintain()
        self.meanwhile = lambda: None

    def build(self, job: Job, tell: Tell) -> None:
        self.meanwhile()
        build.build(job, tell)

    @rule()
    def snapshot(self) -> None:
        self.kept = self.index.snapshot(self.folder), dict(self.held)

    @rule()
    def crash_and_open_again(self) -> None:
        """From the last snapshot, with what came later told again, as the database does."""
        held, self.index = self.held, make_index(self.folder, self.bits, self.build)
        before: dict[int, np.ndarray] = {}
        if self.kept is not None:
            self.index.restore(self.kept[0])
            before = self.kept[1]
        for content in before.keys() | held.keys():
            if content not in held:
                self.index.remove(np.array([content]))
            elif content not in before or before[content] is not held[content]:
                self.index.add(content * PARTS + np.arange(len(held[content])), held[content])

    @invariant()
    def it_counts_right(self) -> None:
        assert len(self.index) == len(self.held)
        assert self.index.rows() == sum(map(len, self.held.values()))

    @rule(k=st.integers(1, 300), kept=st.none() | st.lists(st.integers(0, 260), max_size=40, unique=True))
    def search(self, k: int, kept: list[int] | None) -> None:
        query = self.random.standard_normal(DIMENSIONS).astype(np.float32)
        among = None if kept is None else Among(np.array(sorted(kept), np.int64))
        scores, contents = self.index.search(query, k, among, "text")
        allowed = self.held if kept is None else {c: rows for c, rows in self.held.items() if c in kept}
        expected = {content: float((rows.astype(np.float32) @ query).max()) for content, rows in allowed.items()}
        assert len(contents) == len(set(contents.tolist())) == min(k, len(expected))
        np.testing.assert_allclose(scores, sorted(expected.values(), reverse=True)[:k], atol=1e-4)
        for score, content in zip(scores.tolist(), contents.tolist(), strict=True):
            assert abs(expected[content] - score) < 1e-4

    def teardown(self) -> None:
        shutil.rmtree(self.folder)


TestAgainstADictionary = AgainstADictionary.TestCase
TestAgainstADictionary.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def fill(index: CompactIndex, random: np.random.Generator, contents: range) -> np.ndarray:
    vectors = unit(random, len(contents))
    index.add(np.array(contents) * PARTS, vectors)
    return vectors


def test_searches_beside_sealing_and_merging_see_every_content_once(tmp_path: Path) -> None:
    index, random = make_index(tmp_path), np.random.default_rng(3)
    fill(index, random, range(100))
    stop, wrong = threading.Event(), []

    def search() -> None:
        query = np.ones(DIMENSIONS, np.float32)
        while not stop.is_set():
            _, contents = index.search(query, 5000)
            if sorted(contents[contents < 100].tolist()) != list(range(100)):
                wrong.append(sorted(contents.tolist()))

    searching = [threading.Thread(target=search) for _ in range(2)]
    for thread in searching:
        thread.start()
    for start in range(100, 1200, 50):
        fill(index, random, range(start, start + 50))
        fill(index, random, range(100))  # the old ones again
        while index.maintain():
            pass
    stop.set()
    for thread in searching:
        thread.join()
    assert wrong == []
    assert len(index) == 1200


def test_parts_are_sealed_while_a_merge_takes_its_time(tmp_path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow_to_merge(job: Job, tell: Tell) -> None:
        if len(job.sources) > 1:
            begun.set()
            assert go_on.wait(60)
        build.build(job, tell)

    index, random = make_index(tmp_path, builder=slow_to_merge), np.random.default_rng(9)
    for start in range(0, 100, 50):
        fill(index, random, range(start, start + 50))
        assert index.seal()
    merge = threading.Thread(target=index.merge)
    merge.start()
    assert begun.wait(60)
    for start in range(100, 400, 50):
        fill(index, random, range(start, start + 50))
        assert index.seal()
    assert index.stats().segments == 8
    index.remove(np.arange(0, 400, 2))
    fill(index, random, range(0, 10, 2))
    go_on.set()
    merge.join()
    assert index.stats().segments == 7
    left = sorted([*range(1, 400, 2), *range(0, 10, 2)])
    assert sorted(index.search(np.ones(DIMENSIONS, np.float32), 500)[1].tolist()) == left
    assert len(index) == len(left)


def test_an_index_that_grows_is_merged_only_where_many_parts_are_of_a_size(tmp_path: Path) -> None:
    index, random = make_index(tmp_path), np.random.default_rng(10)
    for start in range(0, 50 * merging.FANOUT, 50):
        assert not index.merge(growing=True)
        fill(index, random, range(start, start + 50))
        assert index.seal()
    assert index.stats().segments == merging.FANOUT
    assert index.merge(growing=True)
    assert index.stats().segments == 1
    fill(index, random, range(1000, 1000 + 30 * merging.FANOUT))
    assert index.seal()
    assert not index.merge(growing=True)
    assert index.merge()
    assert index.stats().segments == 1


def test_a_filter_that_keeps_one_picture_of_many_finds_it(tmp_path: Path) -> None:
    index = CompactIndex(tmp_path, DIMENSIONS, Plan(DIMENSIONS, 2, mutable_rows=10_000), build.build)
    random = np.random.default_rng(4)
    fill(index, random, range(60_000))
    assert index.maintain()
    query = unit(random, 1)[0].astype(np.float32)
    for kept in (0, 31_415, 59_999):
        assert index.search(query, 10, Among(np.array([kept])))[1].tolist() == [kept]
    most = Among(np.arange(0, 60_000, 2))
    found = index.search(query, 10, most, "text")[1]
    assert len(found) == 10 and (found % 2 == 0).all()


def test_a_wide_filter_finds_about_what_exact_search_finds(tmp_path: Path) -> None:
    index = CompactIndex(tmp_path, DIMENSIONS, Plan(DIMENSIONS, 2, mutable_rows=10_000), build.build)
    random = np.random.default_rng(5)
    vectors = fill(index, random, range(60_000)).astype(np.float32)
    index.maintain()
    hits = 0
    for query in unit(random, 20).astype(np.float32):
        kept = np.arange(0, 60_000, 9)
        best = kept[np.argsort(-(vectors[kept] @ query))[:10]]
        hits += len(set(index.search(query, 10, Among(kept), "text")[1].tolist()) & set(best.tolist()))
    assert hits >= 180


@pytest.mark.parametrize("bits", [1, 2])
def test_a_segment_takes_the_memory_that_its_plan_says(tmp_path: Path, bits: int) -> None:
    rows, dimensions = 20_000, 384
    index = CompactIndex(tmp_path, dimensions, Plan(dimensions, bits, mutable_rows=1000), build.build)
    vectors = np.random.default_rng(6).standard_normal((rows, dimensions)).astype(np.float16)
    index.add(np.arange(rows) * PARTS, vectors)
    index.maintain()
    planned = index.plan.memory_bytes(rows) - 1000 * (2 * dimensions + ROW_OVERHEAD)
    assert index.stats().memory_bytes == pytest.approx(planned, rel=0.1)


def test_each_vector_is_written_only_a_few_times_however_often_something_is_added(tmp_path: Path) -> None:
    written = 0

    def count(job: Job, tell: Tell) -> None:
        nonlocal written
        build.build(job, lambda done, total: None)
        written += segment.Segment(Path(job.target), DIMENSIONS).info.rows

    index = make_index(tmp_path, builder=count)
    random = np.random.default_rng(7)
    for start in range(0, 4_000, 40):
        fill(index, random, range(start, start + 40))
        while index.maintain():
            pass
    assert written <= 4_000 * 10
    assert index.stats().segments <= 3 * merging.FANOUT


def test_a_build_that_fails_loses_nothing_and_is_tried_again(tmp_path: Path) -> None:
    failing = True

    def full(job: Job, tell: Tell) -> None:
        if failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        build.build(job, tell)

    index, random = make_index(tmp_path, builder=full), np.random.default_rng(8)
    fill(index, random, range(100))
    with pytest.raises(OSError, match="No space left"):
        index.maintain()
    fill(index, random, range(50, 200))
    assert len(index) == 200
    failing = False
    while index.maintain():
        pass
    assert len(index) == 200 and index.stats().segments == 1
    assert sorted(index.search(np.ones(DIMENSIONS, np.float32), 500)[1].tolist()) == list(range(200))
