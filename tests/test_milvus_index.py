"""The milvus index beside a dictionary of numpy vectors, against a real milvus-lite: embedded, and as a server that
is killed, stopped and started again."""

import logging
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from launched import free_port
from milvus_life import CHANGES, DIMENSIONS, agree, ids_of, live_through, unit_vectors

from memesearch.errors import ConfigError, Unavailable
from memesearch.library.records import Position
from memesearch.search.index import milvus, milvus_connection, milvus_search
from memesearch.search.index.base import PARTS, Among
from memesearch.search.index.milvus import MilvusIndex
from memesearch.search.index.settings import EmbeddingModel, IndexSettings
from memesearch.search.index.tiers import InMilvus

pytest.importorskip("pymilvus", reason="the milvus tier is optional: pip install -r requirements-milvus.txt")
pytest.importorskip("milvus_lite", reason="these tests need milvus-lite: pip install -r requirements-milvus.txt")

SERVER = """
import sys
from milvus_lite.adapter.grpc.server import run_server
run_server(sys.argv[1], "127.0.0.1", int(sys.argv[2]))
"""


@settings(max_examples=15, deadline=None)
@given(changes=CHANGES, seed=st.integers(0, 2**32 - 1), k=st.integers(1, 20))
def test_after_any_changes_it_answers_as_a_dictionary_of_vectors_would(
    changes: list[tuple[str, Any]], seed: int, k: int
) -> None:
    with TemporaryDirectory() as folder:
        live_through(f"{folder}/milvus.db", "pictures", changes, seed, k)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[MilvusIndex]:
    index = MilvusIndex(str(tmp_path / "milvus.db"), "pictures", DIMENSIONS)
    yield index
    index.close()


def test_an_empty_index_answers_nothing(index: MilvusIndex) -> None:
    scores, contents = index.search(np.ones(DIMENSIONS, np.float32), 10**9)
    assert len(scores) == len(contents) == len(index) == 0


def test_a_query_of_zeros_finds_any_contents_with_score_zero(index: MilvusIndex) -> None:
    index.add(ids_of(range(5)), unit_vectors(np.random.default_rng(0), 5))
    scores, contents = index.search(np.zeros(DIMENSIONS, np.float32), 3)
    assert scores.tolist() == [0, 0, 0]
    assert len(set(contents.tolist())) == 3


def test_animations_of_many_alike_frames_do_not_crowd_others_out(index: MilvusIndex) -> None:
    random = np.random.default_rng(1)
    near, far = unit_vectors(random, 1), unit_vectors(random, 5)
    index.add(np.arange(20 * PARTS), np.repeat(near, 20 * PARTS, axis=0))
    index.add(ids_of(range(20, 25)), far)
    scores, contents = index.search(near[0].astype(np.float32), 22)
    assert len(contents) == 22
    assert set(contents[:20].tolist()) == set(range(20))
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize(
    ("flushed", "named"), [(False, milvus_search.NAMED), (True, milvus_search.NAMED), (True, 1500)]
)
def test_filters_of_any_size_find_what_they_keep(
    index: MilvusIndex, flushed: bool, named: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_search, "NAMED", named)
    random = np.random.default_rng(2)
    vectors = unit_vectors(random, 20_000)
    vectors[:, 0] = 1 - np.arange(20_000) / 10_000  # the later a picture, the less it is like the query
    vectors = (vectors / np.linalg.norm(vectors.astype(np.float32), axis=1, keepdims=True)).astype(np.float16)
    index.add(ids_of(range(20_000)), vectors)
    assert len(index) == 20_000
    if flushed:
        index.snapshot(Path())
    query = np.eye(DIMENSIONS, dtype=np.float32)[0]
    held = {content: vectors[content : content + 1] for content in range(20_000)}
    for kept in ([19_999], range(19_000, 19_050), range(15_000, 20_000), range(0, 20_000, 3), range(5, 20_000)):
        agree(index, held, query, 10, Among(np.array(kept, np.int64)))
    assert len(index.search(query, 10, Among(np.array([20_001], np.int64)))[0]) == 0
    assert len(index.search(query, 10, Among(np.empty(0, np.int64)))[0]) == 0
    assert len(index.search(query, 50_000)[0]) == milvus_search.LIMIT


def test_a_large_filter_is_one_or_two_requests(index: MilvusIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(9)
    index.add(ids_of(range(30_000)), unit_vectors(random, 30_000))
    asked, rows = [], milvus_search.Search._rows

    def counted(self: Any, wanted: int, condition: str) -> Any:
        asked.append(wanted)
        return rows(self, wanted, condition)

    monkeypatch.setattr(milvus_search.Search, "_rows", counted)
    query = random.standard_normal(DIMENSIONS).astype(np.float32)
    for kept, k in ((range(25_000), 100), (range(0, 30_000, 3), 100), (range(20_000), 10_000)):
        asked.clear()
        assert len(index.search(query, k, Among(np.array(kept, np.int64)))[0]) == k
        assert len(asked) <= 2


def test_a_library_and_a_model_have_a_collection_of_their_own(tmp_path: Path) -> None:
    uri, vectors = str(tmp_path / "milvus.db"), unit_vectors(np.random.default_rng(10), 3)
    one, other = uuid.uuid4().hex, uuid.uuid4().hex
    settings = IndexSettings(folder=tmp_path, type="milvus", uri=uri)
    pairs = [(one, "ViT-B-32/laion2b: é"), (one, "ViT-B-32_laion2b: é"), (other, "ViT-B-32/laion2b: é")]
    kept = [InMilvus(settings, library, EmbeddingModel(1, model, DIMENSIONS)) for library, model in pairs]
    for count, index in enumerate(kept):
        index.vectors.add(ids_of(range(count + 1)), vectors[: count + 1])
        index.save(Position("opening", count))
    for index in kept:
        index.close()
    again = [InMilvus(settings, library, EmbeddingModel(1, model, DIMENSIONS)) for library, model in pairs]
    assert [len(index.vectors) for index in again] == [1, 2, 3]
    assert [index.reached() for index in again] == [Position("opening", count) for count in range(3)]
    again[0].clear()
    assert [len(index.vectors) for index in again] == [0, 2, 3]
    for index in again:
        index.close()


def test_large_batches_are_cut_between_contents() -> None:
    contents = np.repeat(np.arange(100), np.random.default_rng(3).integers(1, 17, 100))
    batches = list(milvus._batches(contents, 40))
    assert np.concatenate([contents[batch] for batch in batches]).tolist() == contents.tolist()
    ends = [(contents[batch][0], contents[batch][-1]) for batch in batches]
    assert all(before[1] < after[0] for before, after in pairwise(ends))
    assert max(batch.stop - batch.start for batch in batches) <= 40


def test_requests_stay_below_what_milvus_accepts(index: MilvusIndex, tmp_path: Path) -> None:
    wide = MilvusIndex(str(tmp_path / "milvus.db"), "wide", 1152)
    wide.add(ids_of(range(2500)), unit_vectors(np.random.default_rng(4), 2500, 1152))  # 11.5 MB
    assert len(wide) == 2500
    wide.close()
    assert len(index) == 0  # closing one collection leaves the others of its file open


def test_the_position_survives_reopening_and_goes_with_the_data(
    index: MilvusIndex, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert index.position() is None
    index.set_position("a library", 41)
    index.set_position("a library", 42)
    index.close()
    again = MilvusIndex(str(tmp_path / "milvus.db"), "pictures", DIMENSIONS)
    assert again.position() == ("a library", 42)
    again.add(ids_of([7]), unit_vectors(np.random.default_rng(5), 1))
    again.clear()
    assert again.position() is None
    assert len(again) == 0
    again.add(ids_of([8]), unit_vectors(np.random.default_rng(5), 1))
    assert len(again) == 1
    again.set_position("another", 1)
    assert again.position() == ("another", 1)
    with again._milvus.asking() as client:
        client.drop_collection("pictures")
    again.close()
    again = MilvusIndex(str(tmp_path / "milvus.db"), "pictures", DIMENSIONS)
    assert again.position() is None
    again.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_a_position_that_is_not_ours_counts_as_none(index: MilvusIndex) -> None:
    with index._milvus.asking() as client:
        client.create_collection("pictures_position", dimension=4)
    assert index.position() is None
    index.set_position("a library", 3)
    assert index.position() == ("a library", 3)


def test_collections_of_another_dimension_or_program_are_refused(index: MilvusIndex, tmp_path: Path) -> None:
    assert len(index) == 0
    other = MilvusIndex(str(tmp_path / "milvus.db"), "pictures", 8)
    with pytest.raises(ConfigError, match="vectors of 16 numbers, not of 8"):
        other.search(np.ones(8, np.float32), 1)
    other.close()
    with index._milvus.asking() as client:
        client.create_collection("foreign", dimension=DIMENSIONS)
    foreign = MilvusIndex(str(tmp_path / "milvus.db"), "foreign", DIMENSIONS)
    with pytest.raises(ConfigError, match="was made by another program; drop it there, or choose another `uri`"):
        len(foreign)
    foreign.close()


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("milvus", "neither http://HOST:PORT nor a path that ends in .db: milvus"),
        ("ftp://host:1", "looks like http://HOST:PORT"),
        ("http://:19530", "looks like http://HOST:PORT"),
        ("http://user:secret@host:port", "looks like http://HOST:PORT"),
        ("http://host:0", "looks like http://HOST:PORT"),
        ("http://[::1", "looks like http://HOST:PORT"),
        ("/nonexistent/folder/milvus.db", "cannot keep its data in /nonexistent/folder/milvus.db: No such file"),
    ],
)
def test_an_address_that_cannot_work_is_one_sentence_before_it_is_asked(uri: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        MilvusIndex(uri, "pictures", DIMENSIONS)
    assert "`index`" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not str(caught.value).endswith(".")


def test_a_file_in_the_place_of_the_folder_of_milvus_lite_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "milvus.db").write_bytes(b"of an older milvus-lite")
    with pytest.raises(ConfigError, match=r"milvus\.db is a file, but milvus-lite keeps its data in a folder"):
        MilvusIndex(str(tmp_path / "milvus.db"), "pictures", DIMENSIONS)


def test_a_folder_that_cannot_be_written_is_told_before_it_is_needed() -> None:
    with pytest.raises(ConfigError, match=r"^`index`: milvus-lite cannot keep its data in /proc/milvus\.db: "):
        MilvusIndex("/proc/milvus.db", "pictures", DIMENSIONS)


def test_names_that_milvus_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigError, match="ViT-B-32"):
        MilvusIndex("http://127.0.0.1:1", "ViT-B-32", DIMENSIONS)


def test_without_pymilvus_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(ConfigError, match=r"pip install -r requirements-milvus\.txt"):
        MilvusIndex("http://127.0.0.1:19530", "pictures", DIMENSIONS)


def test_a_milvus_that_is_away_is_one_quick_sentence(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    index = MilvusIndex(f"http://somebody:secret@127.0.0.1:{port}", "pictures", DIMENSIONS)
    start = time.monotonic()
    for call in (
        lambda: index.search(np.ones(DIMENSIONS, np.float32), 3),
        lambda: index.add(ids_of([1]), unit_vectors(np.random.default_rng(0), 1)),
        lambda: index.remove(np.array([1])),
        lambda: len(index),
        index.position,
        index.clear,
    ):
        with pytest.raises(Unavailable, match=rf"^Milvus at http://127\.0\.0\.1:{port} cannot be reached$") as caught:
            call()
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 10
    assert index.stats().contents == 0
    index.close()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert capfd.readouterr() == ("", "")


class Server:
    """milvus-lite in a process of its own, that can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", SERVER, str(self.folder / "served.db"), str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert b"listening" in self.process.stdout.readline()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            assert self.process.stdout is not None
            self.process.stdout.close()
            self.process = None


@contextmanager
def served(folder: Path, start: bool = True) -> Iterator[tuple[Server, MilvusIndex]]:
    server = Server(folder)
    if start:
        server.start()
    index = MilvusIndex(server.uri, "pictures", DIMENSIONS)
    try:
        yield server, index
    finally:
        index.close()
        server.kill()


def test_a_file_that_another_program_has_open_is_one_sentence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with served(tmp_path) as (server, _):
        embedded = MilvusIndex(str(server.folder / "served.db"), "pictures", DIMENSIONS)
        with pytest.raises(
            Unavailable, match=r"^Milvus cannot open .*served\.db; perhaps another program has it open$"
        ):
            len(embedded)
        embedded.close()
    assert caplog.records == []


def when_back(call: Any, seconds: float = 20) -> Any:
    """The answer of `call` as soon as there is one."""
    end = time.monotonic() + seconds
    while True:
        try:
            return call()
        except Unavailable:
            assert time.monotonic() < end, "it did not come back"
            time.sleep(0.1)


def test_a_milvus_that_is_killed_keeps_what_it_acknowledged_and_is_found_again(tmp_path: Path) -> None:
    random = np.random.default_rng(6)
    vectors = unit_vectors(random, 5000)
    acknowledged = 0
    with served(tmp_path) as (server, index):
        index.set_position("a library", 1)
        killer = threading.Timer(0.5, server.kill)
        killer.start()
        with pytest.raises(Unavailable, match=server.uri):
            for start in range(0, 5000, 5):
                index.add(ids_of(range(start, start + 5)), vectors[start : start + 5])
                acknowledged = start + 5
                time.sleep(0.001)
        killer.join()
        assert 0 < acknowledged < 5000
        for _ in range(3):
            start_time = time.monotonic()
            with pytest.raises(Unavailable):
                index.search(vectors[0].astype(np.float32), 3)
            assert time.monotonic() - start_time < 5
        server.start()
        assert when_back(index.position) == ("a library", 1)
        assert acknowledged <= len(index) <= acknowledged + 5
        held = {content: vectors[content : content + 1] for content in range(acknowledged)}
        agree(index, held, random.standard_normal(DIMENSIONS).astype(np.float32), 20, Among(np.arange(acknowledged)))
        index.add(ids_of(range(acknowledged, 5000)), vectors[acknowledged:])  # resumes
        assert len(index) == 5000


def test_a_milvus_that_hangs_is_given_up_in_time_for_all_callers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(milvus_search, "SEARCH_SECONDS", 1.0)
    monkeypatch.setattr(milvus_connection, "SECONDS", 1.0)
    vectors = unit_vectors(np.random.default_rng(7), 3)
    with served(tmp_path) as (server, index):
        index.add(ids_of(range(3)), vectors)
        server.signal(signal.SIGSTOP)
        failures = []

        def search() -> None:
            with pytest.raises(Unavailable) as caught:
                index.search(vectors[0].astype(np.float32), 3)
            failures.append(str(caught.value))

        start = time.monotonic()
        threads = [threading.Thread(target=search) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert time.monotonic() - start < 5
        assert len(failures) == 8
        assert set(failures) <= {
            f"Milvus at {server.uri} {how}" for how in ("does not answer in time", "cannot be reached")
        }
        server.signal(signal.SIGCONT)
        assert when_back(lambda: index.search(vectors[0].astype(np.float32), 3))[1][0] == 0


def test_a_milvus_that_comes_late_is_found_and_one_that_lost_its_data_starts_empty(tmp_path: Path) -> None:
    with served(tmp_path, start=False) as (server, index):
        with pytest.raises(Unavailable, match=server.uri):
            len(index)
        server.start()
        assert when_back(lambda: len(index)) == 0
        index.add(ids_of(range(3)), unit_vectors(np.random.default_rng(8), 3))
        index.set_position("a library", 9)
        server.kill()
        with pytest.raises(Unavailable):
            index.position()
        (tmp_path / "served.db").rename(tmp_path / "lost.db")
        server.start()
        assert when_back(index.position) is None
        assert len(index) == 0


def test_searches_beside_changes_see_whole_contents(index: MilvusIndex) -> None:
    def vectors(*cosines: float) -> np.ndarray:
        rows = np.zeros((len(cosines), DIMENSIONS))
        rows[:, 0], rows[:, 1] = cosines, np.sqrt(1 - np.square(cosines))
        return np.tile(rows, (50, 1)).astype(np.float16)

    one, two = ids_of(range(50)), (ids_of(range(50))[:, None] + np.arange(2)).ravel()
    index.add(one, vectors(0.1))
    stop = threading.Event()
    counts, seen = set(), set()

    def search() -> None:
        while not stop.is_set():
            scores = index.search(np.eye(DIMENSIONS, dtype=np.float32)[0], 100)[0]
            counts.add(len(scores))
            seen.update(np.round(scores, 2).tolist())

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(30):
        index.add(two, vectors(0.5, 0.2))
        index.add(one, vectors(0.1))
        if turn % 10 == 5:
            index.snapshot(Path())
    stop.set()
    for thread in threads:
        thread.join()
    assert counts == {50}
    assert seen <= set(np.round(np.array([0.1, 0.5], np.float32), 2).tolist())  # 0.2 is of neither moment
