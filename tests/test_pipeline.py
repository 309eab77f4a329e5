"""The pipeline with real processes: a folder as the source, the crawler, the indexing, a model, the queue."""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from disks import fill, small_disk
from launched import PROJECT, free_port
from memes import meme, things_of
from PIL import Image
from services import Program, backend, clip_server, configure_pictures, rows_of, wait_for, wait_until_idle, write_rows

from memesearch.library.pool import read_pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.pipeline.chosen import threshold_now
from memesearch.rater.processing.standing import standing
from memesearch.taste.checkpoint import save
from memesearch.taste.labels import labels
from memesearch.taste.ridge import Ridge
from memesearch.taste.threshold import choose_threshold

ANIMALS, FOOD = things_of("animals"), things_of("food")
TAUGHT = 20  # of each kind; the stream has others
Taste = tuple[Ridge, str]


class World:
    """One person's folders and configuration, and the pipeline over them."""

    def __init__(self, folder: Path, service: Program, **more: Any) -> None:
        self.folder, self.service = folder, service
        (folder / "stream").mkdir()
        (folder / "images").mkdir()
        self.mse(clip_server=service.url)
        self.configure(**more)

    def mse(self, **more: Any) -> None:
        configure_pictures(self.folder, **{"clip_server": self.service.url, "decode_workers": 1, **more})

    def configure(self, **more: Any) -> None:
        settings = {"sources": [{"type": "folder", "path": "stream"}], "exploration": 0.0, "learning_decisions": 0}
        settings |= more
        (self.folder / "rater_config.json").write_text(json.dumps(settings))

    def learn(self, taste: Taste, model_id: str | None = None) -> str:
        return save(self.folder / "models", taste[0], model_id or taste[1], {}, {}).name

    def stream(self, *things: int, seed: int = 0) -> None:
        for thing in things:
            meme(self.folder / "stream" / f"{thing:03}-{seed}.png", thing, seed)

    def command(self, program: str = "meme_pipeline.py", *more: str) -> list[str]:
        return [sys.executable, str(PROJECT / "meme-rater" / program), str(self.folder / "rater_config.json"), *more]

    def run(self, program: str = "meme_pipeline.py", *more: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(self.command(program, *more), capture_output=True, text=True, timeout=200, check=False)

    def succeed(self) -> dict[str, int]:
        """A run that must end well; the numbers of its table."""
        ended = self.run()
        assert ended.returncode == 0, ended.stderr
        return counts(ended.stdout)

    def rows(self, sql: str) -> list[Any]:
        return rows_of(self.folder / "rater.db", sql)

    def write(self, sql: str, *values: Any) -> None:
        write_rows(self.folder / "rater.db", sql, values)

    def outcomes(self) -> Counter[str]:
        return Counter(outcome for (outcome,) in self.rows("SELECT outcome FROM scores"))

    def queued(self) -> list[str]:
        return [name for (name,) in self.rows("SELECT filename FROM library_queue ORDER BY keep DESC")]

    def titles(self) -> set[str]:
        """What the queued pictures were called in the stream."""
        found = set()
        for name in self.queued():
            meta = (self.folder / "meta" / name).with_suffix(".json")
            found.add(str(json.loads(meta.read_text())["title"]))
        return found


def counts(text: str) -> dict[str, int]:
    rows = [line.split() for line in text.splitlines() if line and line.split()[1].replace(",", "").isdigit()]
    return {row[0]: int(row[1].replace(",", "")) for row in rows}


@pytest.fixture(scope="module")
def taste(service: Program, tmp_path_factory: pytest.TempPathFactory) -> Taste:
    """Of a person who keeps animals and discards food."""
    folder = tmp_path_factory.mktemp("taught")
    for thing in ANIMALS[:TAUGHT] + FOOD[:TAUGHT]:
        meme(folder / "pictures" / f"{thing:03}.png", thing)
    once = backend(folder, service, folder / "pictures", no_run_server=True)
    subprocess.run([sys.executable, str(PROJECT / "mse.py"), str(once.config)], check=True, capture_output=True)
    pool, model = read_pool(folder / "library.db"), Ridge()
    kept = [(row, int(Path(name).stem) in ANIMALS) for row, name in enumerate(pool.names)]
    model.fit(pool.vectors, labels([], kept), np.arange(len(pool)))
    return model, pool.model_id


@pytest.fixture
def world(service: Program, taste: Taste, tmp_path: Path) -> World:
    """With twelve animals and twelve dishes in its stream."""
    made = World(tmp_path, service)
    made.learn(taste)
    made.stream(*ANIMALS[TAUGHT : TAUGHT + 12], *FOOD[TAUGHT : TAUGHT + 12])
    return made


def test_a_run_crawls_indexes_scores_and_queues_what_is_probably_kept(world: World) -> None:
    told = world.succeed()
    assert (told["crawled"], told["new"]) == (24, 24)
    assert told["queued"] + told["below"] + told["duplicates"] == 24
    assert told["queue"] == told["queued"] == len(world.queued()) > 4
    animals = [title for title in world.titles() if int(title.split("-")[0]) in ANIMALS]
    assert len(animals) >= 0.75 * told["queued"]
    rows = world.rows("SELECT keep, outcome, chance FROM scores")
    assert min(keep for keep, outcome, _ in rows if outcome == "queued") > max(
        keep for keep, outcome, _ in rows if outcome == "below"
    )
    assert {chance for _, outcome, chance in rows if outcome == "queued"} == {1.0}


def test_a_second_run_finds_nothing_to_do_and_changes_nothing(world: World) -> None:
    world.succeed()
    before = world.rows("SELECT * FROM scores"), world.rows("SELECT * FROM library_queue")
    told = world.succeed()
    assert (told["crawled"], told["new"], told["queued"], told["below"]) == (0, 0, 0, 0)
    assert (world.rows("SELECT * FROM scores"), world.rows("SELECT * FROM library_queue")) == before


def test_no_picture_is_deleted_by_a_run(world: World) -> None:
    world.succeed()
    assert len([path for path in (world.folder / "images").rglob("*") if path.is_file()]) == 24


def again(world: World, title: str) -> None:
    """The same picture, smaller and compressed, comes along once more."""
    name = next(path for path in (world.folder / "stream").iterdir() if path.stem == title)
    with Image.open(name) as picture:
        picture.convert("RGB").resize((144, 144)).save(name.with_name(f"{title}-again.jpg"), quality=80)


def test_near_duplicates_are_queued_once_within_a_run_and_across_runs(world: World) -> None:
    world.succeed()
    title = sorted(world.titles())[0]
    again(world, title)
    told = world.succeed()
    assert (told["new"], told["duplicates"], told["queued"]) == (1, 1, 0)
    assert world.rows("SELECT reason FROM scores WHERE outcome = 'duplicate'")[0][0] in world.queued()
    fresh = next(thing for thing in ANIMALS[TAUGHT + 12 :])
    world.configure(target_precision=0.05)
    world.stream(fresh)
    again(world, f"{fresh:03}-0")
    told = world.succeed()
    assert (told["new"], told["duplicates"], told["queued"]) == (2, 1, 1)


def test_a_repost_of_what_was_discarded_is_not_shown_again(world: World) -> None:
    world.succeed()
    (world.folder / "library").mkdir()
    port = free_port()
    sources = [{"type": "folder", "path": "stream"}]
    world.configure(library="library", queue_port=port, sources=sources)
    queue = Program("meme-rater/library_processing_server.py", world.folder / "rater_config.json", port).start()
    card = queue.get("api/next?k=1")["pictures"][0]
    queue.post("api/decide", {"token": card["token"], "hash": card["hash"], "decision": "discard"})
    queue.stop()
    name = world.rows("SELECT filename FROM decisions")[0][0]
    assert name not in world.queued()
    again(world, json.loads((world.folder / "meta" / name).with_suffix(".json").read_text())["title"])
    told = world.succeed()
    assert (told["duplicates"], told["queued"]) == (1, 0)
    assert world.rows("SELECT reason FROM scores WHERE outcome = 'duplicate'") == [(name,)]


@pytest.mark.parametrize("same_model", [True, False])
def test_what_the_library_has_already_is_not_queued(
    world: World, service: Program, tmp_path_factory: pytest.TempPathFactory, same_model: bool
) -> None:
    folder = tmp_path_factory.mktemp("library")
    theirs = service if same_model else other_model(folder).start()
    liked = ANIMALS[TAUGHT : TAUGHT + 12]
    for thing in liked[:6]:
        meme(folder / "kept" / f"{thing:03}.png", thing)
    library = backend(folder, theirs, folder / "kept").start()
    wait_until_idle(library)
    world.configure(library_backend=library.url, target_precision=0.05)
    told = world.succeed()
    reasons = [reason for (reason,) in world.rows("SELECT reason FROM scores WHERE outcome = 'duplicate'")]
    assert sorted(reason for reason in reasons if reason.startswith("library: ")) == [
        f"library: {thing:03}.png" for thing in liked[:6]
    ]
    assert told["queued"] == 24 - told["duplicates"] - told["below"] > 0
    assert not {f"{thing:03}-0" for thing in liked[:6]} & world.titles()
    library.stop()
    if not same_model:
        theirs.stop()


def test_a_picture_that_the_library_does_not_take_is_queued_and_stops_no_run(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("library")
    theirs = other_model(folder).start()
    meme(folder / "kept" / "one.png", FOOD[0])
    library = backend(folder, theirs, folder / "kept").start()
    wait_until_idle(library)
    name = world.folder / "images" / "00" / "large.png"
    meme(name, ANIMALS[-1])
    with name.open("ab") as file:  # a PNG may be followed by anything
        file.write(bytes(60_000_000))
    world.configure(library_backend=library.url, target_precision=0.05, sources=[])
    told = world.succeed()
    assert (told["queued"], told["waiting"], world.queued()) == (1, 0, ["00/large.png"])
    library.stop()
    theirs.stop()


def other_model(folder: Path) -> Program:
    """The demo model with another way of resizing, which makes other vectors."""
    shutil.copytree(PROJECT / "demo" / "model", folder / "model")
    config = folder / "model" / "open_clip_config.json"
    settings = json.loads(config.read_text())
    settings.setdefault("preprocess_cfg", {})["interpolation"] = "bilinear"
    config.write_text(json.dumps(settings))
    return clip_server(folder, f"local-dir:{folder / 'model'}")


def test_while_the_library_cannot_be_asked_nothing_is_queued_and_the_next_run_goes_on(
    world: World, service: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("library")
    meme(folder / "kept" / "one.png", FOOD[0])
    library = backend(folder, service, folder / "kept")
    world.configure(library_backend=library.url)
    ended = world.run()
    told = counts(ended.stdout)
    assert ended.returncode == 1
    assert "does not answer" in ended.stdout
    assert "left for the next run" in ended.stdout
    assert (told["queued"], told["queue"]) == (0, 0)
    assert told["waiting"] == world.outcomes()["waiting"] > 0
    library.start()
    wait_until_idle(library)
    after = world.succeed()
    assert after["queued"] + after["duplicates"] == told["waiting"]
    assert (after["new"], after["waiting"]) == (0, 0)
    library.stop()


def test_two_runs_at_once_are_one_and_the_second_says_whose(world: World) -> None:
    world.mse(clip_server=f"http://127.0.0.1:{free_port()}/")  # away, so the first waits
    first = subprocess.Popen(world.command(), stderr=subprocess.PIPE, text=True)
    lock = world.folder / "rater.db.pipeline.lock"
    wait_for(lambda: lock.exists() and str(first.pid) in lock.read_text())
    second = world.run()
    assert second.returncode == 1
    assert f"a run is under way already (process {first.pid}, since" in second.stderr
    first.terminate()
    first.communicate(timeout=60)
    world.mse()
    assert world.succeed()["queued"] > 0


def children_of(folder: Path) -> set[int]:
    """Processes, ours aside, that were started with a file of this folder."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if entry.name.isdigit() and str(folder).encode() in command:
            found.add(int(entry.name))
    return found


def waiting_run(world: World) -> "subprocess.Popen[str]":
    """A run whose index step waits, for a minute, for an embedding service that is not there."""
    world.mse(clip_server=f"http://127.0.0.1:{free_port()}/")
    run = subprocess.Popen(world.command(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(b"mse.py" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children_of(world.folder)))
    return run


def test_sigterm_stops_the_run_and_the_step_under_way(world: World) -> None:
    run = waiting_run(world)
    run.terminate()
    _, talk = run.communicate(timeout=60)
    assert run.returncode == 0
    assert "the next run goes on here" in talk
    assert children_of(world.folder) == set()


def test_the_step_under_way_ends_with_a_run_that_is_killed(world: World) -> None:
    run = waiting_run(world)
    run.kill()
    run.wait()
    wait_for(lambda: not children_of(world.folder), 30)  # it would wait longer for the service
    run.communicate()


def test_a_run_killed_at_any_moment_leaves_nothing_undone_or_done_twice(
    world: World, taste: Taste, service: Program, tmp_path_factory: pytest.TempPathFactory
) -> None:
    calm = World(tmp_path_factory.mktemp("calm"), service, exploration=0.3)
    calm.learn(taste)
    calm.stream(*ANIMALS[TAUGHT : TAUGHT + 12], *FOOD[TAUGHT : TAUGHT + 12])
    began = time.monotonic()
    calm.succeed()
    whole = time.monotonic() - began
    world.configure(exploration=0.3)
    chance = random.Random(5)
    for _ in range(6):
        run = subprocess.Popen(world.command(), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(chance.uniform(0.1, 0.9) * whole)
            raise subprocess.TimeoutExpired("it ended before", 0)
        run.kill()
        run.wait()
        wait_for(lambda: not children_of(world.folder))  # the step under way ends with the run
    world.succeed()
    columns = "hash, outcome, explored, chance, library_queue.keep"
    query = f"SELECT {columns} FROM scores LEFT JOIN library_queue USING (hash) ORDER BY hash"
    settled = world.rows(query)
    assert len(settled) == 24
    assert [row[:4] for row in settled] == [row[:4] for row in calm.rows(query)]
    assert len(world.queued()) == len(set(world.queued())) == len(calm.queued())


def test_what_is_below_the_threshold_is_explored_by_chance_and_the_chance_is_recorded(world: World) -> None:
    world.configure(exploration=0.5)
    told = world.succeed()
    assert 0 < told["explored"] < told["explored"] + told["below"]
    rows = world.rows("SELECT explored, chance FROM library_queue JOIN scores USING (hash) WHERE outcome = 'explored'")
    assert rows == [(1, 0.5)] * told["explored"]
    assert {chance for (chance,) in world.rows("SELECT chance FROM scores WHERE outcome = 'below'")} == {0.5}


def test_while_there_are_few_decisions_the_best_pictures_are_queued_to_learn_from(world: World) -> None:
    world.configure(target_precision=0.99, learning_decisions=7)
    told = world.succeed()
    assert (told["queued"], told["explored"], told["below"] + told["duplicates"]) == (0, 7, 17)
    rows = world.rows("SELECT scores.keep, outcome, chance, explored FROM scores LEFT JOIN library_queue USING (hash)")
    shown = sorted((row for row in rows if row[1] == "explored"), reverse=True)
    assert [row[2:] for row in shown] == [(1.0, 1)] * 7
    assert shown[-1][0] > max(keep for keep, outcome, *_ in rows if outcome == "below")
    assert (world.succeed()["explored"], len(world.queued())) == (0, 7)
    decide(world, world.queued()[:3])
    world.stream(*ANIMALS[TAUGHT + 12 : TAUGHT + 16])
    told = world.succeed()
    assert (told["new"], told["explored"], told["queue"]) == (4, 0, 4), "decisions count like what waits for one"
    world.configure(target_precision=0.99, learning_decisions=9)
    world.stream(*FOOD[TAUGHT + 12 : TAUGHT + 16])
    told = world.succeed()
    assert (told["new"], told["explored"], told["queue"]) == (4, 2, 6)


def test_what_a_threshold_without_decisions_would_let_through_waits_until_there_are_some(world: World) -> None:
    world.configure(target_precision=0.3, learning_decisions=4)
    told = world.succeed()
    assert (told["explored"], told["queued"]) == (4, 0)
    assert told["waiting"] > 0
    again = world.succeed()
    assert (again["queued"], again["queue"], again["waiting"]) == (0, 4, told["waiting"])
    decide(world, world.queued())
    learnt = world.succeed()
    assert learnt["queued"] > 0
    assert learnt["waiting"] == 0


def decide(world: World, names: list[str]) -> None:
    """Keep these of the queue, as its server stores it."""
    for name in names:
        world.write(
            "INSERT INTO decisions(filename, hash, kept, at, keep, explored, moved)"
            " SELECT filename, hash, 1, 0, keep, explored, 1 FROM library_queue WHERE filename = ?",
            name,
        )
        world.write("DELETE FROM library_queue WHERE filename = ?", name)


def test_pictures_to_learn_from_stand_for_themselves_and_are_no_part_of_the_precision(world: World) -> None:
    world.configure(target_precision=0.99, learning_decisions=6)
    world.succeed()
    decide(world, world.queued())
    database = RaterDatabase(world.folder / "rater.db")
    assert standing(database).precision is None
    found = threshold_now(database, 0.99)
    keep = [row[0] for row in world.rows("SELECT keep FROM scores WHERE outcome = 'explored' ORDER BY keep DESC")]
    stream = [row[0] for row in world.rows("SELECT keep FROM scores")]
    alone = choose_threshold(np.array(keep), np.ones(6, np.bool_), 0.99, stream=np.array(stream))
    assert (found.decisions, found.effective) == (6, alone.effective)
    assert found.value == pytest.approx(alone.value)
    database.close()


def test_a_newer_model_looks_again_at_what_an_older_one_found_too_bad(world: World, taste: Taste) -> None:
    opposite = Ridge()
    world.configure(exploration=0.2)
    world.succeed()
    pool = read_pool(world.folder / "images.db")
    before = {row[0]: row[1:] for row in world.rows("SELECT filename, outcome, keep, model FROM scores")}
    below = [name for name, row in before.items() if row[0] == "below"]
    assert len(below) > 4 and world.succeed()["below"] == 0, "the same model is not asked twice"
    good = [(row, before[name][0] == "below") for row, name in enumerate(pool.names)]
    opposite.fit(pool.vectors, labels([], good), np.arange(len(pool)))
    model = world.learn((opposite, taste[1]))
    told = world.succeed()
    assert told["new"] == told["explored"] == 0, "what chance left out once is not drawn again"
    assert told["queued"] > 0 and told["queued"] + told["below"] + told["duplicates"] == len(below)
    after = {row[0]: row[1:] for row in world.rows("SELECT filename, outcome, keep, model FROM scores")}
    assert all(after[name][2] == model for name in below)
    settled = [name for name in before if name not in below]
    assert [after[name] for name in settled] == [before[name] for name in settled], "what was shown keeps its score"
    chances = world.rows("SELECT DISTINCT outcome, chance FROM scores WHERE outcome != 'duplicate' ORDER BY outcome")
    assert set(chances) <= {("below", 0.2), ("explored", 0.2), ("queued", 1.0)}


def test_what_waits_in_the_queue_and_is_gone_leaves_it_until_it_comes_back(world: World) -> None:
    world.succeed()
    first, second, *_ = names = world.queued()
    (world.folder / "images" / first).rename(world.folder / "aside.png")
    told = world.succeed()
    assert (told["gone"], told["queue"], told["waiting"]) == (1, len(names) - 1, 0)
    assert first not in world.queued() and second in world.queued()
    (world.folder / "aside.png").rename(world.folder / "images" / first)
    told = world.succeed()
    assert (told["gone"], told["new"], told["queued"]) == (0, 0, 1)
    assert sorted(world.queued()) == sorted(names)
    assert world.outcomes()["queued"] == len(names)


def test_decisions_raise_the_threshold_of_a_model_that_promised_too_much(world: World) -> None:
    world.configure(target_precision=0.6)
    before = world.run().stdout
    for name in world.queued():
        digest = world.rows(f"SELECT hash FROM scores WHERE filename = '{name}'")[0][0]
        for _ in range(8):
            world.write("INSERT INTO decisions(filename, hash, kept, at, keep) VALUES (?, ?, 0, 0, 0.9)", name, digest)
    after = world.run().stdout
    assert threshold_of(after) > threshold_of(before)


def threshold_of(text: str) -> float:
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith("threshold"))


def test_a_new_model_puts_the_queue_in_its_own_order(world: World, taste: Taste) -> None:
    world.configure(target_precision=0.05)
    world.succeed()
    before = world.queued()
    opposite = Ridge()
    pool = read_pool(world.folder / "images.db")
    opposite.fit(pool.vectors, labels([], [(row, row % 3 == 0) for row in range(len(pool))]), np.arange(len(pool)))
    name = world.learn((opposite, taste[1]))
    told = world.succeed()
    assert told["rescored"] == told["queue"] == len(before)
    assert {model for (model,) in world.rows("SELECT model FROM library_queue")} == {name}
    assert world.queued() != before
    assert world.succeed()["rescored"] == 0


def test_vectors_of_another_model_are_refused_and_both_are_named(world: World, taste: Taste) -> None:
    world.learn(taste, "another-model")
    ended = world.run()
    assert ended.returncode == 2
    assert "another-model" in ended.stderr
    assert taste[1] in ended.stderr
    assert world.rows("SELECT * FROM scores") == []


def test_before_a_model_was_trained_pictures_are_collected_and_the_way_on_is_told(world: World) -> None:
    shutil.rmtree(world.folder / "models")
    ended = world.run()
    assert ended.returncode == 2
    assert "run train.py" in ended.stderr.splitlines()[-1]
    assert len(read_pool(world.folder / "images.db")) == 24


def test_a_crawl_that_fails_does_not_keep_what_is_there_from_being_scored(world: World) -> None:
    for thing in ANIMALS[TAUGHT : TAUGHT + 5]:
        meme(world.folder / "images" / "00" / f"{thing}.png", thing)
    world.configure(sources=[{"type": "feed", "url": f"http://127.0.0.1:{free_port()}/feed"}])
    ended = world.run()
    assert ended.returncode == 1
    assert "the crawl failed" in ended.stdout
    assert counts(ended.stdout)["new"] == 5


def test_without_sources_what_lies_in_the_folder_is_scored(world: World) -> None:
    meme(world.folder / "images" / "00" / "one.png", ANIMALS[-1])
    world.configure(sources=[])
    assert world.succeed()["new"] == 1


def test_an_index_step_that_fails_stops_the_run_with_its_reason(world: World) -> None:
    world.mse(files="not-there")
    world.configure(sources=[])
    ended = world.run()
    assert ended.returncode == 1
    assert "could not be indexed" in ended.stderr.splitlines()[-1]
    assert world.rows("SELECT * FROM scores") == []
    world.mse(no_run_server=False)
    ended = world.run()
    assert ended.returncode == 2
    assert "`no_run_server` must be true" in ended.stderr


def test_the_metrics_are_written_whole_and_say_what_the_summary_says(world: World) -> None:
    world.configure(metrics_file="metrics/memes.prom")
    told = world.succeed()
    text = (world.folder / "metrics" / "memes.prom").read_text()
    values = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if not line.startswith("#")}
    assert values['meme_pipeline_pictures{outcome="queued"}'] == told["queued"]
    assert values['meme_pipeline_pictures{outcome="new"}'] == 24
    low, high = values["meme_pipeline_expected_precision_low"], values["meme_pipeline_expected_precision_high"]
    assert 0 < low <= values["meme_pipeline_expected_precision"] <= high < 1
    assert values["meme_pipeline_last_run_timestamp_seconds"] > 1.7e9
    names = {name.partition("{")[0] for name in values}
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")} == names
    assert os.listdir(world.folder / "metrics") == ["memes.prom"]


def test_metrics_that_cannot_be_written_are_told_of_and_cost_nothing_else(world: World) -> None:
    (world.folder / "occupied").write_text("a file, no folder")
    world.configure(metrics_file="occupied/memes.prom")
    ended = world.run()
    assert ended.returncode == 1
    assert "`metrics_file`" in ended.stdout
    assert counts(ended.stdout)["queue"] == len(world.queued()) > 0


def test_a_full_disk_of_the_database_ends_the_run_and_the_next_goes_on(world: World) -> None:
    with small_disk(world.folder / "disk", "4m") as disk:
        world.configure(database="disk/rater.db", sources=[])
        for thing in ANIMALS[TAUGHT : TAUGHT + 12]:
            meme(world.folder / "images" / "00" / f"{thing}.png", thing)
        assert world.run("meme_pipeline.py").returncode == 0
        filling = fill(disk)
        os.truncate(filling, filling.stat().st_size - 48 * 1024)  # enough to open it
        for thing in ANIMALS[TAUGHT + 12 : TAUGHT + 60] + FOOD[TAUGHT:]:
            meme(world.folder / "images" / "00" / f"{thing}.png", thing)
        ended = world.run()
        assert ended.returncode == 1
        assert "database or disk is full" in ended.stderr.splitlines()[-1]
        filling.unlink()
        ended = world.run()
        assert ended.returncode == 0, ended.stderr
        assert counts(ended.stdout)["queue"] > 0
        assert rows_of(disk / "rater.db", "SELECT count(*) FROM scores WHERE outcome = 'waiting'") == [(0,)]


def test_any_folder_can_be_scored_best_first(world: World, taste: Taste) -> None:
    folder = world.folder / "elsewhere"
    for thing in ANIMALS[TAUGHT : TAUGHT + 6] + FOOD[TAUGHT : TAUGHT + 6]:
        meme(folder / "deep" / f"{thing:03}.png", thing)
    ended = world.run("score_folder.py", str(folder))
    assert ended.returncode == 0, ended.stderr
    lines = [line.split(",") for line in ended.stdout.splitlines()]
    assert lines[0] == ["keep", "score", "file"]
    keep = [float(line[0]) for line in lines[1:]]
    assert len(keep) == 12
    assert keep == sorted(keep, reverse=True)
    animals = [int(Path(line[2]).stem) in ANIMALS for line in lines[1:]]
    assert sum(animals[:6]) > sum(animals[6:])


def test_pictures_that_cannot_be_read_are_listed_and_the_others_scored(world: World) -> None:
    folder = world.folder / "elsewhere"
    meme(folder / "good.png", ANIMALS[0])
    (folder / "bad.png").write_bytes(b"no picture")
    ended = world.run("score_folder.py", str(folder))
    assert ended.returncode == 1
    assert [line.split(",")[2] for line in ended.stdout.splitlines()[1:]] == ["good.png"]
    assert "skipping 'bad.png'" in ended.stderr
    assert world.run("score_folder.py", str(folder / "not-there")).returncode == 2
    assert world.run("score_folder.py").returncode == 2
    world.mse(clip_server=f"http://127.0.0.1:{free_port()}/")
    ended = world.run("score_folder.py", str(folder))
    assert ended.returncode == 1
    assert "does not answer" in ended.stderr.splitlines()[-1]
