"""train.py and run_graph.py as real programs over a made library."""

import asyncio
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launched import PROJECT
from services import configure_pictures

from memesearch.config import load_config
from memesearch.errors import ConfigError
from memesearch.library.pool import read_pool
from memesearch.library.records import Content, FileStat
from memesearch.library.store import Store
from memesearch.rater.config import RaterConfig
from memesearch.rater.curves import draw
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import read_examples
from memesearch.taste.checkpoint import load, newest
from memesearch.taste.simulate import Person, person

COUNT, DIMENSIONS = 300, 32
SOMEONE = person("R1", COUNT, 0, DIMENSIONS)


async def index(path: Path, someone: Person, start: int = 0) -> None:
    """A library's database with the vectors of `someone`, from the `start`-th on, as if pictures had been indexed."""
    async with Store.open(path) as store:
        model = await store.model_number("made-1", DIMENSIONS)
        await store.activate_model(model)
        await store.add(
            model,
            [
                (Content(number.to_bytes(16, "big"), "image", 9, 9, 1), [vector.astype("<f2").tobytes()], [file])
                for number, vector in enumerate(someone.vectors[start:], start)
                for file in [FileStat(name(number), 1, 1)]
            ],
        )


def name(number: int) -> str:
    return f"{number:03}.png"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with an indexed library and a configuration; nothing is rated."""
    asyncio.run(index(tmp_path / "images.db", SOMEONE))
    configure(tmp_path)
    return tmp_path


def configure(place: Path, **more: Any) -> Path:
    configure_pictures(place)
    path = place / "rater_config.json"
    path.write_text(json.dumps(more))
    return path


def run(program: str, place: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(PROJECT / "meme-rater" / program), str(place / "rater_config.json"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def rate(place: Path, count: int, graded: bool = True, decisions: int = 0) -> None:
    """Answers of the simulated person, stored as the rater's server does."""
    random = np.random.default_rng(count)
    first = random.integers(0, COUNT, count)
    second = (first + random.integers(1, COUNT, count)) % COUNT
    said = SOMEONE.answer(first, second, graded, 0)
    judged = SOMEONE.decide(random.integers(0, COUNT, decisions), 0.4, 0)
    with closing(RaterDatabase(place / "rater.db")) as database, database.transaction() as db:
        for one, other, grade in zip(first, second, said.grade.tolist(), strict=True):
            rating = "=" if grade == 0 else "1" if grade > 0 else "2"
            row = (name(one), name(other), rating, abs(grade) if graded else None)
            db.execute("INSERT INTO ratings(meme1, meme2, rating, grade) VALUES (?, ?, ?, ?)", row)
        for item, kept in zip(judged.item.tolist(), judged.kept.tolist(), strict=True):
            row = (name(item), int(item).to_bytes(16, "big"), int(kept))
            db.execute("INSERT INTO decisions(filename, hash, kept, at) VALUES (?, ?, ?, 0)", row)


def correlation(checkpoint: Path) -> float:
    """Of the model's scores with the real taste."""
    vectors = SOMEONE.vectors
    return float(np.corrcoef(load(checkpoint).model.score(vectors)[0], SOMEONE.taste)[0, 1])


@pytest.mark.parametrize("kind", ["ridge", "ensemble"])
def test_training_makes_a_model_that_knows_the_taste_and_says_how_well(place: Path, kind: str) -> None:
    rate(place, 300, decisions=60)
    ended = run("train.py", place, "--model", kind)
    assert ended.returncode == 0, ended.stderr
    assert "300 answers and 60 decisions about" in ended.stdout
    assert "pairs in the right order" in ended.stdout and "AUROC" in ended.stdout
    folder = newest(place / "models")
    assert f"stored as {folder}" in ended.stdout
    assert correlation(folder) > 0.6
    checkpoint = load(folder)
    assert (checkpoint.model.kind, checkpoint.model_id) == (kind, "made-1")
    figures = checkpoint.metrics["held_out"]
    assert figures["pair_accuracy"]["low"] > 0.6 and figures["auroc"]["value"] > 0.6
    assert len(json.loads((folder / "direction.json").read_text())) == DIMENSIONS
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert (log[0]["kind"], log[0]["model_id"]) == (kind, "made-1")
    assert [line["labels"] for line in log if "labels" in line] == [90, 180, 360]
    assert any("epoch" in line for line in log) == (kind == "ensemble")
    drawn = run("run_graph.py", place, *([folder.name] if kind == "ridge" else []))
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.split() == [str(folder / "curves.png"), str(folder / "curves.svg")]
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_timer_trains_only_when_something_was_said_since(place: Path) -> None:
    rate(place, 40)
    models = place / "models"
    assert run("train.py", place, "--if-new").returncode == 0
    first = newest(models)
    ended = run("train.py", place, "--if-new")
    assert (ended.returncode, newest(models)) == (0, first)
    assert ended.stdout.strip() == f"nothing was said since {first} was trained, which stays the current model"
    rate(place, 1)
    assert run("train.py", place, "--if-new").returncode == 0
    second = newest(models)
    assert second != first
    (second / "weights.npz").write_bytes(b"half")  # what cannot be used was not learned
    assert run("train.py", place, "--if-new").returncode == 0
    third = newest(models)
    assert third != second
    assert run("train.py", place, "--if-new", "--model", "ensemble").returncode == 0  # another kind is news
    assert newest(models) != third
    assert len(list(models.glob("*-*"))) == 4


def test_a_timer_trains_too_when_the_library_has_grown_by_more_than_a_tenth(place: Path) -> None:
    rate(place, 40)
    assert run("train.py", place, "--if-new").returncode == 0
    first, more = newest(place / "models"), person("R1", COUNT + 60, 0, DIMENSIONS)
    asyncio.run(index(place / "images.db", person("R1", COUNT + 20, 0, DIMENSIONS), COUNT))
    assert "nothing was said since" in run("train.py", place, "--if-new").stdout
    asyncio.run(index(place / "images.db", more, COUNT + 20))
    assert "stored as" in run("train.py", place, "--if-new").stdout
    assert newest(place / "models") != first


def test_figures_are_not_better_than_they_are_when_answers_are_noise(place: Path) -> None:
    random = np.random.default_rng(0)
    with closing(RaterDatabase(place / "rater.db")) as database, database.transaction() as db:
        for one, other in random.permutation(COUNT).reshape(-1, 2).tolist() * 3:  # each pair is answered three times
            rating = "1" if random.random() < 0.5 else "2"
            db.execute("INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, ?)", (name(one), name(other), rating))
    assert run("train.py", place).returncode == 0
    accuracy = load(newest(place / "models")).metrics["held_out"]["pair_accuracy"]
    assert accuracy["low"] < 0.55


def test_without_an_answer_training_ends_with_one_sentence(place: Path) -> None:
    ended = run("train.py", place)
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(
        "there are no answers to learn from; answer some pairs (rater_server.py), then train again"
    )
    assert "Traceback" not in ended.stderr and not (place / "models").exists()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_few_answers_make_a_model_that_says_it_knows_little(place: Path, count: int) -> None:
    rate(place, count)
    ended = run("train.py", place)
    assert ended.returncode == 0, ended.stderr
    assert "knows little" in ended.stdout
    keep = load(newest(place / "models")).model.keep_probability(SOMEONE.vectors)
    assert keep.min() > 0.2 and keep.max() < 0.8


def test_the_ensemble_with_too_few_answers_ends_with_one_sentence(place: Path) -> None:
    rate(place, 3)
    ended = run("train.py", place, "--model", "ensemble")
    assert ended.returncode == 1
    assert "needs at least 8 answers and decisions, and there are 3" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_answers_about_pictures_that_nobody_has_are_counted(place: Path) -> None:
    rate(place, 20)
    with closing(RaterDatabase(place / "rater.db")) as database, database.transaction() as db:
        db.execute("INSERT INTO ratings(meme1, meme2, rating) VALUES ('gone.png', '001.png', '1')")
    ended = run("train.py", place)
    assert "20 answers and 0 decisions" in ended.stdout
    assert "1 more speak of pictures whose vectors are gone" in ended.stdout


def test_a_dimension_has_its_own_answers_and_models(place: Path) -> None:
    configure(place, dimensions=["funny"])
    rate(place, 200)
    refused = run("train.py", place, "--dimension", "funny")
    assert refused.returncode == 1 and "there are no answers about 'funny' to learn from" in refused.stderr
    with closing(RaterDatabase(place / "rater.db")) as database, database.transaction() as db:
        db.execute(  # what is better is less funny
            "INSERT INTO dimension_ratings(dimension, answer, rating, grade)"
            " SELECT 'funny', id, CASE rating WHEN '1' THEN '2' WHEN '2' THEN '1' ELSE '=' END, grade FROM ratings"
        )
    assert run("train.py", place, "--dimension", "funny").returncode == 0
    assert correlation(newest(place / "models" / "funny")) < -0.5
    assert not (place / "models" / "current").exists()
    assert run("train.py", place).returncode == 0
    assert correlation(newest(place / "models")) > 0.5
    refused = run("train.py", place, "--dimension", "rude")
    assert refused.returncode == 2
    assert "`dimensions` does not have 'rude'; it has funny" in refused.stderr


def test_a_library_that_is_not_indexed_is_told(place: Path) -> None:
    (place / "images.db").unlink()
    ended = run("train.py", place)
    assert ended.returncode == 2
    assert "there is no such database; index the pictures first" in ended.stderr


def test_curves_without_a_training_are_refused_with_one_sentence(place: Path) -> None:
    ended = run("run_graph.py", place)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "nothing was trained yet; run train.py" in ended.stderr
    ended = run("run_graph.py", place, "nowhere")
    assert ended.returncode == 2
    assert "only train.py's checkpoints have a log" in ended.stderr


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"{}\n3\n",
        b'{}\n[]\n"epoch"\n',
        b'{}\n{"epoch": 1, "lo',
        b'{}\n{"auroc": 3}\n',
        b'{}\n{"epoch": "one"}\n',
        b'{}\n{"labels": 1' + b"0" * 400 + b"}\n",
        b"{}\n" + b"[" * 100_000 + b"\n",
        b"\xff\n\xff",
    ],
)
def test_a_damaged_log_is_told_of_in_one_sentence_or_drawn_empty(tmp_path: Path, lines: bytes) -> None:
    (tmp_path / "log.jsonl").write_bytes(lines)
    if lines:
        with pytest.raises(ConfigError, match=r"log.jsonl: is damaged: .*; train again"):
            draw(tmp_path)
    else:
        assert len(draw(tmp_path)) == 2


@pytest.mark.parametrize("names", [[""], ["a/b"], [".."], ["current"], ["a\0"], ["x" * 101], ["funny", "funny"]])
def test_a_dimension_that_no_folder_of_models_can_be_named_after_is_refused_before_it_is_rated(
    tmp_path: Path, names: list[str]
) -> None:
    (tmp_path / "rater_config.json").write_text(json.dumps({"dimensions": names}))
    with pytest.raises(ConfigError, match="`dimensions`"):
        load_config(tmp_path / "rater_config.json", RaterConfig)


def test_an_interval_that_does_not_hold_its_value_is_drawn_nevertheless(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{}\n{"labels": 5, "auroc": {"value": 0.5, "low": 0.7, "high": 0.4}}\n')
    assert len(draw(tmp_path)) == 2


def test_grades_that_no_page_gives_tell_the_side_alone(place: Path) -> None:
    pool = read_pool(place / "images.db")
    with closing(RaterDatabase(place / "rater.db")) as database:
        with database.transaction() as db:
            for grade in (7, -2, 0, "much", 1.5, None, 2):
                row = (name(1), name(2), "2", grade)
                db.execute("INSERT INTO ratings(meme1, meme2, rating, grade) VALUES (?, ?, ?, ?)", row)
        said = read_examples(database, pool).labels
    assert said.grade.tolist() == [-1] * 6 + [-2]
    assert said.graded.tolist() == [False] * 6 + [True]


def test_the_made_library_is_what_programs_read(place: Path) -> None:
    config = RaterConfig(mse_config=str(place / "rater_mse_config.json"))
    pool = read_pool(Path(config.pictures().db_path))
    np.testing.assert_allclose(pool.vectors, SOMEONE.vectors, atol=1e-3)
