"""An index through its life: of the kind that suits, kept, not trusted, without room, measured."""

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from disks import small_disk
from index_life import DIMENSIONS, MODEL, Life, named, unit

from memesearch.errors import ConfigError
from memesearch.library import store as store_module
from memesearch.library.store import Store
from memesearch.search import follow, live, recall
from memesearch.search.index import merging
from memesearch.search.index.base import Effort, Found
from memesearch.search.index.build import write_codes
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.files import write_array
from memesearch.search.index.settings import BACK_TO_EXACT, EXACT_VECTORS, EmbeddingModel, IndexSettings, Kind
from memesearch.search.index.tiers import open_kept
from memesearch.search.live import LiveIndex
from memesearch.search.recall import RecallMeter
from memesearch.search.truth import Truth

SEALED = 1024  # rows of the mutable part with a budget of one MB


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits."""
    monkeypatch.setattr(live, "RETRY_SECONDS", 0.0)


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


@pytest.fixture(params=["exact", "compact", "milvus"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "milvus":
        pytest.importorskip("milvus_lite", reason="the milvus tier is optional: requirements-milvus.txt")
    return str(request.param)


# The kind follows the size.


@pytest.mark.parametrize(
    ("memory_mb", "vectors", "now", "expected"),
    [
        (100_000, 0, None, "exact"),
        (100_000, EXACT_VECTORS, None, "exact"),
        (100_000, EXACT_VECTORS + 1, None, "compact"),
        (100_000, EXACT_VECTORS + 1, "exact", "compact"),
        (100_000, BACK_TO_EXACT + 1, "compact", "compact"),
        (100_000, BACK_TO_EXACT, "compact", "exact"),
        (100_000, BACK_TO_EXACT + 1, "exact", "exact"),
        (1, 5_000, "exact", "exact"),
        (1, 6_000, "exact", "compact"),
        (1, 6_000, None, "compact"),
        (1, 2_000, "compact", "exact"),
    ],
)
def test_the_kind_follows_the_size_and_the_memory(
    memory_mb: int, vectors: int, now: Kind | None, expected: str
) -> None:
    settings = IndexSettings(folder=None, memory_mb=memory_mb)
    assert settings.kind_for(DIMENSIONS, vectors, now) == expected


def test_a_library_at_the_edge_of_the_memory_does_not_change_to_and_fro() -> None:
    settings = IndexSettings(folder=None, memory_mb=1)
    edge = next(count for count in range(10_000) if settings.kind_for(DIMENSIONS, count, "exact") == "compact")
    assert settings.kind_for(DIMENSIONS, edge - 1, "compact") == "compact"


@pytest.mark.parametrize("chosen", ["exact", "compact", "milvus"])
@pytest.mark.parametrize("vectors", [0, 10**8])
def test_a_kind_that_is_configured_stays_at_every_size(chosen: Kind, vectors: int) -> None:
    settings = IndexSettings(folder=None, type=chosen, memory_mb=1)
    assert settings.kind_for(1152, vectors, "compact") == chosen


@pytest.mark.parametrize("dimensions", [32, 512, 1152])
@pytest.mark.parametrize("vectors", [0, 1000, 10**6, 10**8])
def test_a_budget_that_is_too_small_names_one_that_is_enough(dimensions: int, vectors: int) -> None:
    least = 1
    try:
        IndexSettings(folder=None, memory_mb=1).plan_for(dimensions, vectors)
    except ConfigError as error:
        said = re.search(r"`index_memory_mb`.* at least ([\d,]+) MB", str(error))
        assert said is not None
        least = int(said[1].replace(",", ""))
    plan = IndexSettings(folder=None, memory_mb=least).plan_for(dimensions, vectors)
    assert plan.memory_bytes(int(vectors * 1.1)) <= least * 2**20
    if least > 3:
        with pytest.raises(ConfigError):
            IndexSettings(folder=None, memory_mb=int(least * 0.85)).plan_for(dimensions, vectors)
    more = IndexSettings(folder=None, memory_mb=20 * least + 100).plan_for(dimensions, vectors)
    assert (more.bits, more.mutable_rows >= plan.mutable_rows) == (2, True)


async def test_a_library_that_grows_and_shrinks_changes_its_kind_while_searches_go_on(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "KEEP_UNUSED_SECONDS", -1)
    async with life.opened() as (store, index):
        await life.add(store, named("old", 4000))
        await index.tend()
        assert index.kind == "exact"
        for change, expected in (("grow", "compact"), ("shrink", "exact")):
            before = index.kind
            if change == "grow":
                await life.add(store, named("new", 4000))
            else:
                await life.remove(store, named("new", 4000) + named("old", 3000))
            stay = named("old", 4000)[3000:]
            tending, asked = asyncio.create_task(index.tend()), 0
            while not tending.done():
                assert await life.finds(store, index, stay[asked % len(stay)])
                if asked == 5:  # what comes while the other kind is built is in it
                    await life.add(store, [f"meanwhile/{change}.png"])
                    await index.catch_up()
                    assert await life.finds(store, index, f"meanwhile/{change}.png")
                asked += 1
            assert (index.kind, index.problem, asked > 5) == (expected, None, True)
            await index.catch_up()
            await life.agrees(store, index)
            assert not (life.kept / f"{before}-{life.model}").exists()
            assert not life.leftovers(expected)
    async with life.opened() as (store, index):
        assert index.kind == "exact"
        await life.agrees(store, index)


# Kept, and taken up again.


async def test_what_was_kept_is_taken_up_and_only_what_came_since_is_followed(life: Life, kind: str) -> None:
    async with life.opened(kind) as (store, index):
        await life.add(store, named("a", 3000))
        await index.catch_up()
        await index.tend()
        await life.agrees(store, index)
    async with life.store() as store:
        index = life.index(store, kind)
        assert await index.open() == 0
        await life.agrees(store, index)
        await index.close()
    async with life.store() as store:
        await life.add(store, named("b", 30))
        await life.add(store, named("a", 10))  # other bytes: the old contents and the new ones change
        await life.remove(store, named("a", 30)[10:])
        index = life.index(store, kind)
        assert await index.open() == 30 + 2 * 10 + 20
        await index.catch_up()
        await life.agrees(store, index)
        await index.close()


async def test_a_first_building_that_is_broken_off_goes_on_where_it_was_kept_last(
    life: Life, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "SAVE_CHANGES", 1000)
    async with life.store() as store:
        await life.add(store, named("a", 5000))
        index = life.index(store, kind)
        await index.open()
        following = asyncio.create_task(index.catch_up())
        while index.progress.report().done < 3000:
            await asyncio.sleep(0)
            assert not following.done()
        following.cancel()
        await asyncio.wait([following])
        index.vectors.close()
        killed = tmp_path / "killed"  # what a power cut would leave
        shutil.copytree(life.kept.parent, killed, ignore=shutil.ignore_patterns("killed"))
        await index.close()
    again = Life(killed)
    again.held = life.held
    async with again.store() as store:
        index = again.index(store, kind)
        assert 0 < await index.open() <= 4000
        await index.catch_up()
        await again.agrees(store, index)
        await index.close()
        assert kind == "milvus" or not again.leftovers(kind)


@pytest.mark.parametrize("after", ["compact", "milvus"])
async def test_an_index_of_the_kind_before_answers_until_the_one_that_is_configured_now_is_built(
    life: Life, after: str
) -> None:
    async with life.opened("exact") as (store, index):
        await life.add(store, named("a", 3000))
        await index.catch_up()
    async with life.store() as store:
        index = life.index(store, after)
        assert (await index.open(), index.kind) == (0, "exact")
        await life.agrees(store, index)
        await index.tend()
        assert (index.problem, index.kind) == (None, after)
        await life.agrees(store, index)
        assert not (life.kept / f"exact-{life.model}").exists()
        await index.close()
    async with life.store() as store:
        index = life.index(store, after)
        assert (await index.open(), index.kind) == (0, after)
        await life.agrees(store, index)
        await index.close()


@pytest.mark.parametrize(
    ("kind", "cost"),
    [
        ("exact", "in float16: about 2 MB of memory, 1 MB of disk"),
        ("compact", "at 2 bits a number: about 2 MB of memory"),
    ],
)
async def test_what_an_index_will_cost_is_told_before_it_is_built(
    life: Life, kind: str, cost: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with life.store() as store:
        await life.add(store, named("a", 10_000))
        index = life.index(store, kind, memory_mb=10)
        with caplog.at_level(logging.INFO):
            assert await index.open() == 10_000
        assert f"the index: 10,000 vectors of 32 numbers {cost}" in caplog.text
        await index.close()


def test_what_codes_of_other_bits_will_cost_is_told_too(life: Life, caplog: pytest.LogCaptureFixture) -> None:
    kept = open_kept("compact", life.settings("compact"), "library", EmbeddingModel(1, MODEL, DIMENSIONS), 1000)
    with caplog.at_level(logging.INFO):
        for count in (2000, 36_000, 37_000):
            assert kept.suit(count) is None
    told = [record.message for record in caplog.records]
    assert len(told) == 1
    assert re.search(r"built anew, .*: 36,000 vectors of 32 numbers at 1 bit a number: about \d MB of memory", told[0])
    kept.close()


@pytest.mark.parametrize("kind", ["exact", "compact"])
async def test_an_index_that_has_outgrown_its_memory_answers_and_says_what_it_needs(life: Life, kind: str) -> None:
    async with life.store() as store:
        await life.add(store, named("a", 100_000))
        index = life.index(store, kind)
        with pytest.raises(ConfigError, match=r"`index_memory_mb`: .* needs at least \d+ MB, the budget is 1"):
            await index.open()
        await index.close()
    async with life.opened(kind, memory_mb=100) as (_, index):
        assert index.problem is None
    async with life.opened(kind) as (store, index):
        await life.agrees(store, index)
        await index.tend()
        assert index.problem is not None
        assert "`index_memory_mb`" in index.problem
        await life.agrees(store, index)


async def test_a_folder_of_an_index_has_one_owner(life: Life) -> None:
    async with life.opened("exact") as (store, index):
        await life.add(store, named("a", 10))
        second = life.index(store, "exact")
        with pytest.raises(ConfigError, match=rf"used by process {os.getpid()}, since"):
            await second.open()
        await index.catch_up()
        await life.agrees(store, index)


# Not trusted.

Damage = Callable[[Path], None]


def changed(pattern: str, change: Callable[[bytes], bytes]) -> Damage:
    def damage(folder: Path) -> None:
        path = next(folder.glob(pattern))
        path.write_bytes(change(path.read_bytes()))

    return damage


def without(pattern: str) -> Damage:
    return lambda folder: next(folder.glob(pattern)).unlink()


def says(pattern: str, **other: object) -> Damage:
    return changed(pattern, lambda raw: json.dumps({**json.loads(raw), **other}).encode())


def half(raw: bytes) -> bytes:
    return raw[: len(raw) // 2]


def flipped(raw: bytes) -> bytes:
    middle = len(raw) // 2
    return raw[:middle] + bytes([raw[middle] ^ 255]) + raw[middle + 1 :]


EVERY: dict[str, Damage] = {
    "manifest truncated": changed("manifest.json", half),
    "manifest empty": changed("manifest.json", lambda raw: b""),
    "manifest of noise": changed("manifest.json", lambda raw: raw[:20] + b"\xff\xfe" + raw[22:]),
    "manifest a list": changed("manifest.json", lambda raw: b"[]"),
    "newer format": says("manifest.json", format=99),
    "another model": says("manifest.json", model_id="second"),
    "other dimensions": says("manifest.json", dimensions=DIMENSIONS * 2),
    "rows truncated": changed("rows-*.f16", half),
    "rows missing": without("rows-*.f16"),
    "ids of rows damaged": changed("rows-*.i64", flipped),
    "ids of rows missing": without("rows-*.i64"),
}
SEGMENTS: dict[str, Damage] = {
    "vectors truncated": changed("segment-*/vectors.f16", half),
    "vectors missing": without("segment-*/vectors.f16"),
    "codes damaged": changed("segment-*/codes.faiss", flipped),
    "codes truncated": changed("segment-*/codes.faiss", half),
    "codes missing": without("segment-*/codes.faiss"),
    "ids damaged": changed("segment-*/ids.i64", flipped),
    "description truncated": changed("segment-*/segment.json", half),
    "description of noise": changed("segment-*/segment.json", lambda raw: raw[:-20] + b"\xff" + raw[-19:]),
    "segment of a newer format": says("segment-*/segment.json", format=99),
    "segment of other dimensions": says("segment-*/segment.json", dimensions=DIMENSIONS * 2),
    "marks truncated": changed("alive-*", half),
    "marks missing": without("alive-*"),
    "segment missing": lambda folder: shutil.rmtree(next(folder.glob("segment-*"))),
}
CASES = [("exact", name) for name in EVERY] + [("compact", name) for name in EVERY | SEGMENTS]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Life]:
    """A library for each kind whose index has rows and, if it is compact, a segment."""

    async def write(life: Life, kind: str) -> None:
        async with life.opened(kind) as (store, index):
            await life.add(store, named("a", SEALED + 200))
            await index.catch_up()
            await asyncio.to_thread(index.vectors.maintain)
            await life.add(store, named("b", 50))
            await index.catch_up()

    lives = {kind: Life(tmp_path_factory.mktemp(kind)) for kind in ("exact", "compact")}
    for kind, life in lives.items():
        asyncio.run(write(life, kind))
    return lives


@pytest.mark.parametrize(("kind", "name"), CASES, ids=[f"{kind}, {name}" for kind, name in CASES])
async def test_an_index_that_is_not_as_it_was_written_is_built_again(
    tmp_path: Path, written: dict[str, Life], kind: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(written[kind].kept.parent, tmp_path, dirs_exist_ok=True)
    life = Life(tmp_path)
    life.held = written[kind].held
    (EVERY | SEGMENTS)[name](life.kept / f"{kind}-{written[kind].model}")
    async with life.store() as store:
        index = life.index(store, kind)
        with caplog.at_level(logging.WARNING):
            assert await index.open() == len(life.held)
        assert "cannot be used, it is built again" in caplog.text
        assert not life.leftovers(kind)
        await index.catch_up()
        await life.agrees(store, index)
        await index.close()
    async with life.store() as store:
        index = life.index(store, kind)
        assert await index.open() == 0
        await life.agrees(store, index)
        await index.close()


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("damage", [flipped, lambda raw: bytes(len(raw)), lambda raw: b"\xff" * len(raw), half])
async def test_a_rotation_that_is_none_is_made_anew(
    tmp_path: Path, written: dict[str, Life], damage: Callable[[bytes], bytes], sealed: bool
) -> None:
    life = Life(tmp_path)
    if sealed:
        shutil.copytree(written["compact"].kept.parent, tmp_path, dirs_exist_ok=True)
        life.held = written["compact"].held
    else:
        async with life.opened("compact") as (store, index):
            await life.add(store, named("a", SEALED))
    path = life.kept / "compact-1" / "rotation.f32"
    path.write_bytes(damage(path.read_bytes()))
    async with life.opened("compact") as (store, index):
        while await asyncio.to_thread(index.vectors.maintain):
            pass
        rotation = np.fromfile(path, np.float32).reshape(DIMENSIONS, DIMENSIONS)
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(DIMENSIONS), atol=1e-3)
        assert index.vectors.stats().segments == 1
        await life.agrees(store, index)


async def built_again(life: Life, store: Store, index: LiveIndex, left: int, caplog: pytest.LogCaptureFixture) -> None:
    """What was kept is of another history: all changes are left to follow, and then the answers are right."""
    with caplog.at_level(logging.WARNING):
        assert await index.open() == left
    assert "follows another history of the database" in caplog.text
    await index.catch_up()
    await life.agrees(store, index)
    await index.close()


async def test_a_database_that_was_copied_while_it_was_open_and_put_back_is_told_from_the_one_that_went_on(
    life: Life, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    copy = life.database.with_name("copy.db")
    async with life.opened(kind) as (store, index):
        await life.add(store, named("a", 300))
        await index.catch_up()
        with closing(sqlite3.connect(life.database)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        before = dict(life.held)
        await life.add(store, named("b", 200))
        await index.catch_up()
    shutil.copy(copy, life.database)
    life.held = before
    async with life.store() as store:
        await life.add(store, named("c", 400))
        index = life.index(store, kind)
        await built_again(life, store, index, 700, caplog)


async def test_a_database_that_was_put_back_is_not_answered_for_by_the_index_of_the_other_history(
    life: Life, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with life.opened(kind) as (store, index):
        await life.add(store, named("a", 1500))
        await index.catch_up()
    copy = life.database.with_name("copy.db")
    shutil.copy(life.database, copy)
    before = dict(life.held)
    async with life.opened(kind) as (store, index):
        await life.add(store, named("b", 200))
        await life.remove(store, named("a", 100))
        await index.catch_up()
    shutil.copy(copy, life.database)
    life.held = before
    async with life.store() as store:
        await life.add(store, named("c", 400))  # so that it has come further than the other history
        index = life.index(store, kind)
        await built_again(life, store, index, 1900, caplog)


# Without room, and without the process that builds.


@pytest.fixture
def disk(life: Life) -> Iterator[Path]:
    """The index's folder on a file system of one MB."""
    with small_disk(life.kept, "1m") as disk:
        yield disk


def leave(disk: Path, free: int) -> None:
    """Fill the disk up to `free` bytes."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    room = os.statvfs(disk)
    filler.write_bytes(bytes(max(room.f_bavail * room.f_frsize - free, 0)))


def used(disk: Path) -> int:
    return sum(path.stat().st_size for path in disk.rglob("*") if path.is_file() and path.name != "filler")


def codes_of(rows: int) -> faiss.IndexIVFRaBitQFastScan:
    quantizer = faiss.IndexFlatIP(DIMENSIONS)
    quantizer.add(np.eye(4, DIMENSIONS, dtype=np.float32))
    codes = faiss.IndexIVFRaBitQFastScan(quantizer, DIMENSIONS, 4, faiss.METRIC_INNER_PRODUCT, 32, True, 2)
    vectors = unit(np.random.default_rng(0).standard_normal((rows, DIMENSIONS))).astype(np.float32)
    codes.train(vectors)
    codes.add(vectors)
    return codes


@pytest.mark.parametrize("what", ["array", "codes"])
def test_what_is_written_to_a_disk_that_gets_full_is_whole_or_an_error(disk: Path, what: str) -> None:
    codes, array, path = codes_of(300), np.arange(2500, dtype=np.int64), disk / "written"
    whole = len(faiss.serialize_index(codes)) if what == "codes" else array.nbytes
    ended_well = set()
    for free in range(0, whole + 8192, 4096):
        path.unlink(missing_ok=True)
        leave(disk, free)
        with contextlib.suppress(OSError):
            write_codes(codes, path) if what == "codes" else write_array(path, array)
            assert path.stat().st_size == whole
            ended_well.add(free)
    assert ended_well
    assert min(ended_well) >= whole


@pytest.mark.parametrize("kind", ["exact", "compact"])
async def test_a_disk_that_is_full_while_the_index_is_kept_costs_nothing(
    life: Life, disk: Path, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(follow, "SAVE_CHANGES", 0)
    monkeypatch.setattr(follow, "SAVE_SHARE", 0.0)
    monkeypatch.setattr(recall, "CHANGED_SHARE", 10.0)
    async with life.opened(kind) as (store, index):
        await life.add(store, named("a", 900))
        await index.tend()
        assert index.problem is None
        kept = used(disk)
        failed = 0
        for free in (0, 4096, 8192, 40_000, 57_600, 61_440, 65_536, 69_632):
            leave(disk, free)
            await life.add(store, named(f"b/{free}", 10))
            await life.remove(store, named(f"b/{free}", 5))
            await index.tend()
            await life.agrees(store, index)
            if index.problem is None:
                kept = used(disk)
            else:
                failed += 1
                assert re.search("[Nn]o space|requested and|full", index.problem)
                assert used(disk) == kept  # what could not be finished is removed
        assert failed > 4
        (disk / "filler").unlink()
        await index.tend()
        assert index.problem is None
    assert not life.leftovers(kind)
    async with life.store() as store:
        index = life.index(store, kind)
        assert await index.open() == 0
        await life.agrees(store, index)
        await index.close()


async def test_a_disk_that_is_full_while_the_index_is_sealed_and_merged_costs_nothing(life: Life, disk: Path) -> None:
    async with life.opened("compact") as (store, index):
        for turn in range(2):  # the first seals, the second seals and merges
            await life.add(store, named(f"a/{turn}", SEALED))
            await index.catch_up()
            failed = 0
            for number, free in enumerate(
                [0, 4096, 20_000, 73_728, 77_824, 81_920, 100_000, 147_456, 155_648, 180_000, 184_320]
            ):
                leave(disk, free)
                before = used(disk)
                try:
                    await asyncio.to_thread(index.vectors.maintain)
                except OSError:
                    failed += 1
                    assert used(disk) == before
                    assert not list(life.kept.glob("*/building-*"))
                await life.add(store, [f"meanwhile/{turn}/{free}.png"])
                await life.remove(store, [named(f"a/{turn}", SEALED)[number]])
                await index.catch_up()
                await life.agrees(store, index)
            assert failed > 3
            (disk / "filler").unlink()
            await index.tend()
            assert index.problem is None
            assert index.vectors.stats().segments == 1
            await life.agrees(store, index)
    assert not life.leftovers("compact")
    async with life.opened("compact") as (store, index):
        await life.agrees(store, index)


async def test_what_could_not_be_kept_is_kept_once_it_can_be(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recall, "CHANGED_SHARE", 1000.0)  # after a measurement the index is kept in any case
    async with life.opened("compact") as (store, index):
        await life.add(store, named("a", 100))
        await index.tend()
        await index.measured()
        in_the_way = life.kept / f"compact-{life.model}" / "manifest.json.new"
        in_the_way.mkdir()
        await life.add(store, named("b", live.CROWDED * SEALED))
        await index.catch_up()  # which seals
        assert index.problem is not None and "cannot be kept" in index.problem
        await index.tend()
        assert index.problem is not None
        assert index.vectors.stats().segments == 1
        in_the_way.rmdir()
        await index.tend()
        assert index.problem is None
        assert not life.leftovers("compact")  # such as a part that nothing names
        await life.agrees(store, index)


def build_process(life: Life, merging: bool = False) -> int | None:
    """A process that builds a segment in this library's folder; of several others if it is to be `merging`."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if b"memesearch.search.index.build" in words and any(str(life.kept).encode() in word for word in words):
                job = json.loads(Path(words[-2].decode()).read_text())
                if len(job["sources"]) > 1 or not merging:
                    return int(path.parent.name)
    return None


async def test_a_build_process_that_is_killed_costs_nothing_and_is_tried_again(life: Life) -> None:
    async with life.opened("compact") as (store, index):
        await life.add(store, named("a", 1800))
        await index.catch_up()
        tending = asyncio.create_task(index.tend())
        while not list(life.kept.glob("*/building-*")):
            assert not tending.done()
            await asyncio.sleep(0.001)
        process = build_process(life)
        assert process is not None
        os.kill(process, signal.SIGKILL)
        await tending
        assert index.problem is not None
        assert "cannot be built: status -9" in index.problem
        await life.agrees(store, index)
        assert not life.leftovers("compact")
        await index.tend()
        assert (index.problem, index.vectors.stats().segments) == (None, 1)
        await life.agrees(store, index)


async def test_what_is_new_can_be_found_while_a_merge_takes_its_time(life: Life) -> None:
    async with life.opened("compact") as (store, index):
        await life.add(store, named("a", 1800))
        await index.catch_up()
        tending = asyncio.create_task(index.tend())
        while (process := build_process(life)) is None:
            assert not tending.done()
            await asyncio.sleep(0.001)
        os.kill(process, signal.SIGSTOP)
        try:
            await life.add(store, named("b", 5 * SEALED))
            async with asyncio.timeout(60):
                await index.catch_up()
            await life.agrees(store, index)
        finally:
            os.kill(process, signal.SIGCONT)
        await tending
        await index.tend()
        assert index.problem is None
        await life.agrees(store, index)


# What is merged beside a long following: from nothing, or of what came in days.


@contextlib.asynccontextmanager
async def much_to_follow(life: Life, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Store, LiveIndex]]:
    """An index that has to follow so much that twelve parts are sealed, of which three of a size are merged."""
    monkeypatch.setattr(merging, "FANOUT", 3)
    async with life.store() as store:
        await life.add(store, named("a", 12 * live.CROWDED * SEALED))
        index = life.index(store, "compact")
        await index.open()
        yield store, index
        await index.close()


async def merge_process(life: Life, index: LiveIndex) -> int:
    """One that merges while the store is still followed."""
    while (process := build_process(life, merging=True)) is None:
        await asyncio.sleep(0.001)
    assert index.progress.state == "building"
    return process


async def test_parts_are_merged_while_much_is_followed(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    async with much_to_follow(life, monkeypatch) as (store, index):
        tending, parts = asyncio.create_task(index.tend()), [0]
        while not tending.done():
            if index.progress.state == "building":
                parts.append(index.vectors.stats().segments)
            await asyncio.sleep(0.01)
        assert any(later < earlier for earlier, later in pairwise(parts))
        assert max(parts) < 10
        assert (index.problem, len(index.vectors)) == (None, len(life.held))
        await life.agrees(store, index)
    assert not life.leftovers("compact")


async def test_closing_does_not_wait_for_a_merge_beside_following_and_loses_nothing(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with much_to_follow(life, monkeypatch) as (_, index):
        tending = asyncio.create_task(index.tend())
        os.kill(await merge_process(life, index), signal.SIGSTOP)  # waited for, it would take for ever
        async with asyncio.timeout(60):
            await index.close()
        await tending
        assert build_process(life) is None
    async with life.store() as store:
        index = life.index(store, "compact")
        assert 0 < await index.open() < len(life.held)
        await index.tend()
        assert index.problem is None
        await life.agrees(store, index)
        await index.close()
    assert not life.leftovers("compact")


async def test_a_merge_that_fails_beside_following_is_told_tried_again_and_does_not_hold_it_up(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "MERGE_AGAIN_SECONDS", 0.1)
    async with much_to_follow(life, monkeypatch) as (store, index):
        tending, told = asyncio.create_task(index.tend()), set()
        failed = await merge_process(life, index)
        os.kill(failed, signal.SIGKILL)
        again = failed
        while not tending.done() and again == failed:
            told.add((index.progress.state, index.problem))
            again = build_process(life, merging=True) or failed
            await asyncio.sleep(0.001)
        assert (again != failed, index.progress.state) == (True, "building")
        await tending
        assert ("building", "a part of the index cannot be built: status -9") in told
        assert index.problem is None
        await life.agrees(store, index)


# Recall is measured.


def off_the_cloud(random: np.random.Generator, pictures: np.ndarray, count: int) -> np.ndarray:
    """Unit vectors [count, d] such as texts have: most of each is a direction that no picture has."""
    chosen = pictures[random.integers(len(pictures), size=count)].astype(np.float32)
    shift = np.zeros(pictures.shape[1], np.float32)
    shift[-1] = 1.0
    return unit(0.5 * chosen + 0.08 * random.standard_normal(chosen.shape) + shift).astype(np.float32)


def clustered(random: np.random.Generator, count: int, dimensions: int) -> np.ndarray:
    """Pictures: clouds around 60 centres, with nothing in the last number."""
    rows = random.standard_normal((60, dimensions))[random.integers(60, size=count)]
    rows = rows + 0.7 * random.standard_normal((count, dimensions))
    rows[:, -1] = 0
    return unit(rows)


async def test_recall_is_measured_anew_when_the_index_has_become_another(
    life: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recall, "CHANGED_SHARE", 1000.0)
    async with life.opened(memory_mb=1) as (store, index):
        await life.add(store, named("a", 5000))
        await index.tend()
        await index.measured()
        assert index.kind == "exact"
        of_exact = [one.measured_at for one in index.recall]
        await index.tend()
        await index.measured()
        assert [one.measured_at for one in index.recall] == of_exact
        await life.add(store, named("b", 1000))
        await index.tend()
        await index.measured()
        assert index.kind == "compact"
        assert len(index.recall) == len(of_exact) == 1
        assert index.recall[0].measured_at > of_exact[0]


class Slow(ExactIndex):
    """An index that has to be searched a hundred times for each effort it offers; it counts that."""

    searched = 0

    def trials(self) -> list[Effort]:
        return [Effort(1.0, 1)]

    def search(self, *of: Any, **more: Any) -> Found:
        self.searched += 1
        time.sleep(0.02)
        return super().search(*of, **more)


async def test_who_ends_measuring_recall_waits_for_one_search_at_most(life: Life) -> None:
    async with life.store() as store:
        await life.add(store, named("a", 500))
        index, meter = Slow(DIMENSIONS), RecallMeter(store, life.model, 0.98)
        follow.apply(index, [], (await store.changes_after(0, life.model, 1000))[2])
        meter.begin(index, asyncio.Event().wait)  # type: ignore[arg-type]
        while index.searched < 3:
            await asyncio.sleep(0.001)
        before = index.searched
        await meter.close()
        assert index.searched <= before + 1


async def test_recall_is_what_a_search_of_everything_says_and_reaches_the_target(tmp_path: Path) -> None:
    life = Life(tmp_path, dimensions=64)
    async with life.opened("compact", target=0.98) as (store, index):
        pictures = clustered(life.random, 8000, life.dimensions)
        await life.add(store, named("a", len(pictures)), pictures)
        await index.catch_up()
        while await asyncio.to_thread(index.vectors.maintain):
            pass
        assert isinstance(index.vectors, CompactIndex)
        low = Effort(1 / 128, 10)
        index.vectors.efforts = {"picture": low, "text": low}
        texts = off_the_cloud(life.random, pictures, 200)
        for text in texts:
            index.note_text(text)
        assert await shares(life, store, index, texts, 10) < 0.9
        await index.tend()
        await index.measured()
        by_kind = {recall.queries: recall for recall in index.recall}
        assert (by_kind["text"].sampled, by_kind["picture"].sampled) == (100, 100)
        # the target was held for the other half of each; a hundred queries say it to about 0.01, and drawn by chance
        assert by_kind["text"].at_10 >= 0.94
        assert by_kind["picture"].at_10 >= 0.94
        assert await shares(life, store, index, texts, 10) >= 0.97
        # and differ from what all two hundred say by about 0.008
        assert abs(by_kind["text"].at_10 - await shares(life, store, index, texts, 10)) < 0.04
        assert abs(by_kind["text"].at_100 - await shares(life, store, index, texts, 100)) < 0.04
        efforts = index.vectors.efforts
    async with life.opened("compact", target=0.98) as (store, index):  # how far it looks is kept
        assert isinstance(index.vectors, CompactIndex)
        assert index.vectors.efforts == efforts


def test_a_picture_that_only_finds_itself_has_found_nothing() -> None:
    random = np.random.default_rng(3)
    pictures = clustered(random, 500, 64)
    own = np.arange(0, 500, 10)
    truth = Truth(pictures[own].astype(np.float32), own)
    truth.show(np.arange(500), pictures)
    alone = [(np.ones(1, np.float32), np.array([content])) for content in own]
    assert truth.recall(alone, 10) == 0
    scores = pictures[own].astype(np.float32) @ pictures.astype(np.float32).T
    best = [np.argsort(-row, kind="stable")[:11] for row in scores]  # with itself
    answers = [(row[contents], contents) for row, contents in zip(scores, best, strict=True)]
    assert truth.recall(answers, 10) == 1


def test_what_is_missed_by_little_is_missed() -> None:
    random = np.random.default_rng(3)
    pictures = clustered(random, 5000, 64)
    texts = off_the_cloud(random, pictures, 50)
    truth = Truth(texts, np.full(len(texts), -1))
    for start in range(0, 5000, 700):
        truth.show(np.arange(5000)[start : start + 700], pictures[start : start + 700])
    scores = texts @ pictures.astype(np.float32).T
    seen = np.flatnonzero(random.random(5000) < 0.8)
    best = [np.argsort(-row, kind="stable") for row in scores]
    found = [seen[np.argsort(-row[seen], kind="stable")[:100]] for row in scores]
    for k in (10, 100):
        expected = np.mean([len({*one[:k]} & {*right[:k]}) / k for one, right in zip(found, best, strict=True)])
        answers = [(row[contents], contents) for row, contents in zip(scores, found, strict=True)]
        assert abs(truth.recall(answers, k) - expected) < 0.005
        moved = [(values - 3e-4, contents) for values, contents in answers]  # as an engine that rounds otherwise
        assert abs(truth.recall(moved, k) - expected) < 0.005


async def shares(life: Life, store: Store, index: LiveIndex, texts: np.ndarray, k: int) -> float:
    """Mean share of the best `k` files that the index finds, by their names."""
    names, rows = list(life.held), np.stack(list(life.held.values())).astype(np.float32)
    found = []
    for text in texts:
        best = {names[place] for place in np.argsort(-(rows @ text), kind="stable")[:k]}
        _, contents = index.vectors.search(text, k, None, "text")
        hits = await store.hits(contents.tolist())
        found.append(len(best & {hit.files[0] for hit in hits.values()}) / k)
    return float(np.mean(found))
