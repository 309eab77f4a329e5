"""The rater's server: answers count once, the model follows them, and nothing else that is sent is stored."""

import asyncio
import json
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launched import PROJECT
from rater_library import name_of, rater, rater_config, unit_vectors
from rating import LIKED, VECTORS, answer, rate, refusal_of, rows, write
from services import Program, running, wait_for

from memesearch.config import load_config
from memesearch.rater.config import RaterConfig
from memesearch.rater.rating.desk import Desk
from memesearch.rater.rating.routes import follow
from memesearch.taste.ridge import Ridge


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with running(rater(tmp_path, VECTORS, dimensions=["funny", "wise"])) as program:
        yield program


@pytest.fixture(scope="module")
def unanswered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """For tests that store nothing."""
    with running(rater(tmp_path_factory.mktemp("unanswered"), VECTORS)) as program:
        yield program


def test_the_next_pairs_stay_the_same_until_they_are_answered(program: Program) -> None:
    pairs = program.get("api/pair")["pairs"]
    assert len(pairs) >= 3
    assert program.get("api/pair")["pairs"] == pairs
    after = answer(program, pairs[0]["token"], 1)["pairs"]
    assert after[: len(pairs) - 1] == pairs[1:]


def test_an_answer_is_stored_with_what_the_pictures_were(program: Program) -> None:
    expected, names = [], set()
    deck = program.get("api/pair")
    for grade, rating, size in ((2, "1", 2), (1, "1", 1), (0, "=", 0), (-1, "2", 1), (-2, "2", 2)):
        pair = deck["pairs"][0]
        deck = answer(program, pair["token"], grade)
        assert deck["stored"] is True
        expected.append((pair["first"], pair["second"], rating, size, "spread"))
        names |= {(pair["first"],), (pair["second"],)}
    assert rows(program, "SELECT meme1, meme2, rating, grade, reason FROM ratings ORDER BY id") == expected
    kept = rows(program, "SELECT filename FROM memes JOIN vectors ON vectors.hash = memes.hash ORDER BY 1")
    assert kept == sorted(names)


def test_a_form_that_is_sent_twice_counts_once(program: Program) -> None:
    token = program.get("api/pair")["pairs"][0]["token"]
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda grade: answer(program, token, grade), [1, -1] * 4))
    assert sorted(reply["stored"] for reply in replies) == [False] * 7 + [True]
    assert len(rows(program, "SELECT * FROM ratings")) == 1
    assert answer(program, token, 2)["stored"] is False
    assert program.post("api/skip", {"token": token})["skipped"] is False
    assert len(rows(program, "SELECT * FROM ratings")) == 1


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("api/answer", {"token": "never-given", "grade": 1}, 404, "not on offer"),
        ("api/answer", {"token": "../../etc/passwd", "grade": 1}, 404, "not on offer"),
        ("api/answer", {"token": "x", "grade": 3}, 400, "<= 2"),
        ("api/answer", {"token": "x", "grade": 1.5}, 400, "Expected `int`"),
        ("api/answer", {"token": "x", "grade": 1, "first": "/etc/passwd"}, 400, "unknown field `first`"),
        ("api/answer", {"token": "x", "grade": 1, "dimensions": {"tall": 1}}, 400, "does not name 'tall'"),
        ("api/answer", {"meme1": "a", "meme2": "b", "rating": "1"}, 400, "unknown field"),
        ("api/answer", b"half a {", 400, "not valid JSON"),
        ("api/answer", b'{"token": "' + b"x" * 70_000 + b'"}', 413, "larger than"),
        ("api/undo", {"token": "never-given"}, 404, "not on offer"),
        ("api/skip", {}, 400, "missing required field `token`"),
        ("api/nothing", {}, 404, "nothing at this address"),
    ],
)
def test_whatever_else_is_sent_stores_nothing(
    unanswered: Program, path: str, body: Any, status: int, words: str
) -> None:
    answered, sentence = unanswered.refusal(path, body)
    assert (answered, words in sentence) == (status, True), sentence
    assert rows(unanswered, "SELECT * FROM ratings") == []


def test_other_sites_pages_cannot_answer(program: Program) -> None:
    token = program.get("api/pair")["pairs"][0]["token"]
    body = json.dumps({"token": token, "grade": 1}).encode()
    request = urllib.request.Request(program.url + "api/answer", body, {"Origin": "https://elsewhere.example"})
    assert refusal_of(request) == 403
    assert rows(program, "SELECT * FROM ratings") == []


def test_undo_goes_back_several_steps_and_a_doubled_undo_one(program: Program) -> None:
    pairs = program.get("api/pair")["pairs"][:3]
    answer(program, pairs[0]["token"], 2, dimensions={"funny": -1})
    program.post("api/skip", {"token": pairs[1]["token"]})
    last = answer(program, pairs[2]["token"], 1)
    assert last["undo"] == pairs[2]["token"]
    for step in (2, 1, 0):
        token = pairs[step]["token"]
        reply = program.post("api/undo", {"token": token})
        assert (reply["undone"], reply["pairs"][0]) == (True, pairs[step])
        assert program.post("api/undo", {"token": token})["undone"] is False
    assert rows(program, "SELECT * FROM ratings") == rows(program, "SELECT * FROM dimension_ratings") == []
    assert answer(program, pairs[0]["token"], -2)["stored"] is True
    assert rows(program, "SELECT rating FROM ratings") == [("2",)]


def test_undo_takes_back_the_last_answer_also_after_the_clock_was_set_back(program: Program) -> None:
    pairs = program.get("api/pair")["pairs"][:3]
    answer(program, pairs[0]["token"], 2)
    write(program, "UPDATE offers SET done = done + ? WHERE state = 'answered'", [(86_400,)])
    for pair in pairs[1:]:
        assert answer(program, pair["token"], 1)["undo"] == pair["token"]
    for pair in reversed(pairs):
        assert program.post("api/undo", {"token": pair["token"]})["undone"] is True


def test_dimensions_are_stored_beside_the_answer(program: Program) -> None:
    token = program.get("api/pair")["pairs"][0]["token"]
    answer(program, token, 1, dimensions={"funny": -2, "wise": 0})
    stored = rows(
        program,
        "SELECT dimension, d.rating, d.grade, r.rating FROM dimension_ratings d JOIN ratings r ON r.id = answer"
        " ORDER BY dimension",
    )
    assert stored == [("funny", "2", 2, "1"), ("wise", "=", 0, "1")]


def test_the_model_follows_the_answers_and_the_panel_tells_how_well(program: Program) -> None:
    rate(program, 120)
    status = wait_for(lambda: (now := program.get("api/status"))["learnt"] == 120 and now)
    accuracy = status["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert accuracy["value"] > 0.6
    assert accuracy["of"] == 100
    best = sorted(LIKED, key=lambda name: -LIKED[name])
    assert set(best[:3]) <= {one["name"] for one in status["ranking"]["top"]}
    assert 0.5 < status["ranking"]["agreement"] <= 1
    assert program.metric("rater_answers_total") == 120
    assert program.metric("rater_refit_seconds_count") >= 1


def test_a_picture_that_was_taken_out_of_the_folder_is_not_shown_among_the_best(program: Program) -> None:
    rate(program, 20)
    best = [one["name"] for one in wait_for(lambda: program.get("api/status")["ranking"])["top"]]
    (program.config.parent / "images" / best[0]).unlink()
    ranking = program.get("api/status")["ranking"]["top"]
    assert best[0] not in [one["name"] for one in ranking]
    assert len(ranking) == len(best)


def test_answers_without_sense_are_learnt_from_all_the_same(program: Program) -> None:
    cycle = [(name_of(one), name_of((one + 1) % 3)) for one in range(3)] * 4
    values = [(*pair, "1" if place % 3 else "2", place % 3) for place, pair in enumerate(cycle)]
    write(program, "INSERT INTO ratings(meme1, meme2, rating, grade) VALUES (?, ?, ?, max(1, ?))", values)
    write(program, "INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, ?)", [(name_of(1), name_of(2), "=")] * 20)
    write(program, "INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, ?)", [("gone.png", "away.png", "1")])
    deck = program.get("api/pair")
    for _ in range(5):
        deck = answer(program, deck["pairs"][0]["token"], 0)
    status = wait_for(lambda: (now := program.get("api/status"))["learnt"] == 37 and now)
    assert status["lost"] == 1
    assert np.isfinite([known["rose"] or 0 for known in status["ranking"]["top"]]).all()


def test_a_killed_server_loses_nothing_and_takes_an_old_token_once(program: Program) -> None:
    pairs = program.get("api/pair")["pairs"]
    answer(program, pairs[0]["token"], 1)
    program.stop(signal.SIGKILL)
    program.start()
    assert program.get("api/pair")["pairs"][0] == pairs[1]
    assert answer(program, pairs[0]["token"], 1)["stored"] is False
    assert answer(program, pairs[1]["token"], 1)["stored"] is True
    assert len(rows(program, "SELECT * FROM ratings")) == 2


def refused(config: Path) -> str:
    """What the program says to a config that it cannot use."""
    command = [sys.executable, str(PROJECT / "meme-rater/rater_server.py"), str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1, ended.stderr
    return ended.stderr


def test_what_cannot_be_used_is_said_in_one_line(tmp_path: Path) -> None:
    config = rater_config(tmp_path)
    assert "images.db: there is no such database; index the pictures first" in refused(config)
    assert "unknown field `speed`" in refused(rater_config(tmp_path, speed=3))
    config = rater_config(tmp_path)
    (tmp_path / "rater_mse_config.json").unlink()
    assert "rater_mse_config.json: cannot be read" in refused(config)


def test_the_page_is_given_out_with_its_files(program: Program) -> None:
    if not (PROJECT / "clipfront2/static/rate.html").is_file() or shutil.which("node") is None:
        pytest.skip("run `make page` first")
    with urllib.request.urlopen(program.url) as answered:
        html = answered.read().decode()
    assert 'src="static/rate-' in html
    for name in ("../../frontend_config.json", "%2e%2e/package.json"):
        assert refusal_of(program.url + "static/" + name) == 404


async def test_a_stop_that_comes_with_an_answer_is_a_stop(tmp_path: Path) -> None:
    desk = Desk(load_config(rater(tmp_path, unit_vectors(4)).config, RaterConfig), Ridge())
    news = asyncio.Event()
    for _ in range(3):
        following = asyncio.create_task(follow(desk, news))
        await asyncio.sleep(0.01)
        news.set()
        following.cancel()
        ended, _ = await asyncio.wait([following], timeout=20)
        assert ended == {following}
        assert following.cancelled()
    desk.close()
