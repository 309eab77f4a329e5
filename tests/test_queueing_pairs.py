"""active_learning.py and copy_into_queue.py: pairs chosen in advance, and put before the person."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launched import PROJECT
from rater_library import MODEL_ID, add_to_library, name_of, rater_config, unit_vectors
from services import rows_of

from memesearch.rater.database import RaterDatabase
from memesearch.taste.checkpoint import save
from memesearch.taste.chooser import RULES
from memesearch.taste.labels import labels
from memesearch.taste.ridge import Ridge

COUNT = 60


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A library with a copy of each of its first pictures, and a model trained on it."""
    vectors = unit_vectors(COUNT)
    vectors[50:] = vectors[:10]
    add_to_library(tmp_path, vectors)
    train(tmp_path, vectors, MODEL_ID)
    return rater_config(tmp_path)


def train(folder: Path, vectors: "np.ndarray[Any, np.dtype[np.float32]]", model_id: str) -> None:
    pairs = np.random.default_rng(0).integers(0, 50, (80, 2))
    said = labels([(int(a), int(b), 1 if vectors[a, 0] > vectors[b, 0] else -1, True) for a, b in pairs if a != b], [])
    model = Ridge()
    model.fit(vectors, said, np.arange(len(vectors)))
    save(folder / "models", model, model_id, {}, {})


def run(program: str, *arguments: object, folder: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(PROJECT / "meme-rater" / program), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def queue(config: Path) -> list[tuple[str, str, str, str]]:
    return rows_of(config.with_name("rater.db"), "SELECT meme1, meme2, iteration, reason FROM queue ORDER BY rowid")


def top(config: Path) -> list[Any]:
    return list(json.loads(config.with_name("top.json").read_text()))


@pytest.mark.parametrize("rule", RULES)
def test_top_json_has_the_fixed_form_and_reasons_beside_it(config: Path, rule: str) -> None:
    ended = run("active_learning.py", config, "--by", rule, "--count", 20, "--seed", 1)
    assert (ended.returncode, ended.stdout.split()[0]) == (0, "20"), ended.stderr
    pairs = top(config)
    assert all(isinstance(value, float) for _, value in pairs)
    names = {name_of(number): number % 50 for number in range(COUNT)}
    for (first, second), _ in pairs:
        assert names[first] != names[second], "near-duplicates are a pair"
    reasons = json.loads(config.with_name("top_reasons.json").read_text())
    assert [pair for pair, _ in reasons] == [pair for pair, _ in pairs]
    assert {reason for _, reason in reasons} <= {rule, "control", "random", "spread"}
    again = run("active_learning.py", config, "--by", rule, "--count", 20, "--seed", 1)
    assert again.stdout == ended.stdout
    assert top(config) == pairs


def test_what_was_chosen_is_queued_once_in_its_order(config: Path) -> None:
    run("active_learning.py", config, "--by", "variance", "--count", 10)
    first = run("copy_into_queue.py", config, "round 2")
    assert first.stdout == "10 pairs queued, 0 were rated already, 0 were in the queue\n"
    reasons = json.loads(config.with_name("top_reasons.json").read_text())
    assert queue(config) == [(*pair, "round 2", reason) for pair, reason in reasons]
    again = run("copy_into_queue.py", "3", folder=config.parent)
    assert again.stdout == "0 pairs queued, 0 were rated already, 10 were in the queue\n"
    assert len(queue(config)) == 10


def test_the_next_choice_leaves_out_what_is_queued(config: Path) -> None:
    run("active_learning.py", config, "--by", "variance", "--count", 30, "--seed", 1)
    run("copy_into_queue.py", config, "1")
    before = {frozenset(pair) for pair, _ in top(config)}
    run("active_learning.py", config, "--by", "variance", "--count", 30, "--seed", 1)
    assert not before & {frozenset(pair) for pair, _ in top(config)}


def test_rated_and_forged_pairs_are_not_queued_and_are_told_of(config: Path) -> None:
    database = RaterDatabase(config.with_name("rater.db"))
    with database.transaction() as db:
        db.execute("INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, '1')", (name_of(2), name_of(1)))
    database.close()
    pairs = [(1, 2), (3, 4), (4, 3), (5, 5)]
    listing = [[[name_of(one), name_of(two)], 0.5] for one, two in pairs]
    forged = ["../../etc/passwd", "/etc/passwd", "missing.png"]
    listing += [[[name_of(7), name], 1] for name in forged]
    config.with_name("top.json").write_text(json.dumps(listing))
    ended = run("copy_into_queue.py", config, "1")
    assert ended.returncode == 0
    assert ended.stdout == "1 pairs queued, 1 were rated already, 0 were in the queue\n"
    assert [pair[:2] for pair in queue(config)] == [(name_of(3), name_of(4))]
    for name in forged:
        assert f"{name!r} is not a picture of the library" in ended.stderr


@pytest.mark.parametrize("text", ["", "{", "{}", '[["a", "b"]]', '[[["a"], 1]]', '[[["a", "b"], "high"]]'])
def test_a_top_json_of_another_form_is_refused_in_one_line(config: Path, text: str) -> None:
    config.with_name("top.json").write_text(text)
    ended = run("copy_into_queue.py", config, "1")
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (1, "", 1)
    assert "top.json: is not a list of [[meme1, meme2], value]" in ended.stderr


def test_without_what_they_need_both_end_with_one_line(config: Path, tmp_path: Path) -> None:
    ended = run("copy_into_queue.py", config, "1")
    assert (ended.returncode, "run active_learning.py first" in ended.stderr) == (1, True)
    train(tmp_path, unit_vectors(COUNT), "another-model")
    ended = run("active_learning.py", config)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "another-model" in ended.stderr
    assert MODEL_ID in ended.stderr
    (tmp_path / "models/current").unlink()
    ended = run("active_learning.py", config)
    assert (ended.returncode, "nothing was trained yet" in ended.stderr) == (2, True)
    assert not config.with_name("top.json").exists()
    assert run("active_learning.py", config, "--by", "luck").returncode == 2
    assert run("copy_into_queue.py").returncode == 2


def test_a_place_that_cannot_be_written_and_pictures_that_are_all_gone_are_told(config: Path, tmp_path: Path) -> None:
    config.with_name("top.json").mkdir()
    ended = run("active_learning.py", config)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "top.json: cannot be written: Is a directory" in ended.stderr
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    ended = run("active_learning.py", config)
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "images: none of the library's pictures is there" in ended.stderr


def test_more_pairs_than_there_are_end_with_all_of_them(tmp_path: Path) -> None:
    vectors = unit_vectors(5)
    add_to_library(tmp_path, vectors)
    model = Ridge()
    model.fit(vectors, labels([], []), np.arange(5))
    save(tmp_path / "models", model, MODEL_ID, {}, {})
    config = rater_config(tmp_path)
    ended = run("active_learning.py", config, "--by", "gradient", "--count", 50)
    assert len({frozenset(pair) for pair, _ in top(config)}) == len(top(config)) == 10
    assert "there are no more pairs" in ended.stderr
