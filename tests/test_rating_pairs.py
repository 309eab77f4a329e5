"""Which pairs the rater's server shows: the queue first, only pictures that are there, and why there are none."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rater_library import add_to_library, name_of, rater, unit_vectors
from rating import COUNT, VECTORS, answer, rate, refusal_of, rows, write
from services import Program, running, wait_for


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    with running(rater(tmp_path, VECTORS, dimensions=["funny", "wise"])) as program:
        yield program


def test_a_skipped_pair_does_not_come_back(tmp_path: Path) -> None:
    program = rater(tmp_path, unit_vectors(3)).start()
    seen = []
    while (deck := program.get("api/pair"))["pairs"]:
        pair = deck["pairs"][0]
        seen.append(frozenset((pair["first"], pair["second"])))
        program.post("api/skip", {"token": pair["token"]})
    assert len(seen) == len(set(seen)) == 3
    assert "Every pair has been shown" in deck["note"]
    assert program.get("api/status")["skipped"] == 3
    assert program.stop() == 0


def test_the_queue_comes_first_in_its_order_and_keeps_its_iteration(program: Program) -> None:
    laid_out = wait_for(lambda: program.get("api/pair")["pairs"])
    offered = {frozenset((pair["first"], pair["second"])) for pair in laid_out}  # those would keep their place
    possible = [(name_of(number), name_of(number + 1)) for number in range(COUNT - 1)]
    queued = [pair for pair in possible if frozenset(pair) not in offered][:3]
    write(program, "INSERT INTO queue(meme1, meme2, iteration) VALUES (?, ?, '5')", queued)
    deck = program.get("api/pair")
    names = [(pair["first"], pair["second"]) for pair in deck["pairs"]]
    start = names.index(queued[0])
    assert start <= 2  # what the page may show already stays
    assert names[start : start + 3] == queued
    rate(program, start + 2)
    assert rows(program, "SELECT meme1, meme2 FROM queue") == [queued[2]]
    assert rows(program, "SELECT meme1, meme2 FROM ratings WHERE iteration = '5'") == queued[:2]
    token = program.get("api/pair")["undo"]
    program.post("api/undo", {"token": token})
    assert len(rows(program, "SELECT * FROM queue")) == 2


def test_a_pair_on_offer_that_is_queued_meanwhile_is_asked_about_once(program: Program) -> None:
    pairs = program.get("api/pair")["pairs"]
    queued = [(pairs[3]["first"], pairs[3]["second"]), (pairs[0]["second"], pairs[0]["first"])]
    write(program, "INSERT INTO queue(meme1, meme2, iteration) VALUES (?, ?, '7')", queued)
    seen = [frozenset((pair["first"], pair["second"])) for pair in program.get("api/pair")["pairs"]]
    assert len(set(seen)) == len(seen)
    assert set(map(frozenset, queued)) <= set(seen)
    rate(program, 4)
    assert rows(program, "SELECT * FROM queue") == []
    assert rows(program, "SELECT count(*) FROM ratings WHERE iteration = '7'") == [(2,)]


def test_queued_pairs_whose_pictures_are_gone_or_forged_are_dropped_and_counted(program: Program) -> None:
    (program.config.parent / "images" / name_of(5)).unlink()
    bad = ["../../../etc/passwd", "/etc/passwd", "nothing.png", name_of(5)]
    queued = [(name_of(1), name) for name in bad] + [(name_of(8), name_of(8)), (name_of(1), name_of(2))]
    write(program, "INSERT INTO queue(meme1, meme2, iteration) VALUES (?, ?, '1')", queued)
    names = [{pair["first"], pair["second"]} for pair in program.get("api/pair")["pairs"]]
    assert {name_of(1), name_of(2)} in names
    assert not [pair for pair in names if pair & set(bad)]
    status = program.get("api/status")
    assert status["dropped"] >= 5
    assert status["queue"] == 1


def test_a_pair_on_offer_whose_picture_vanishes_is_dropped(program: Program) -> None:
    pair = program.get("api/pair")["pairs"][1]
    (program.config.parent / "images" / pair["second"]).unlink()
    tokens = [other["token"] for other in program.get("api/pair")["pairs"]]
    assert pair["token"] not in tokens
    assert program.refusal("api/answer", {"token": pair["token"], "grade": 1}) == (
        404, "one of these pictures is gone; nothing was stored",
    )  # fmt: skip
    assert program.get("api/status")["dropped"] >= 1


def test_only_pictures_of_the_pool_are_given_out_and_they_run_nothing(program: Program) -> None:
    folder = program.config.parent
    address = program.url + "pictures/"
    with urllib.request.urlopen(address + urllib.request.quote(name_of(3))) as answered:
        assert answered.read() == (folder / "images" / name_of(3)).read_bytes()
        assert answered.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in answered.headers["Content-Security-Policy"]
        assert answered.headers["Content-Type"] == "image/png"
    (folder / "images/unindexed.png").write_bytes((folder / "images" / name_of(3)).read_bytes())
    target = folder / "images" / name_of(6)
    target.unlink()
    target.symlink_to("/etc/passwd")
    forged = ["../rater.db", "..%2Frater.db", "%2Fetc%2Fpasswd", "/etc/passwd", "a%00b", "unindexed.png", "", "%ff"]
    for name in [*forged, urllib.request.quote(name_of(6))]:
        assert refusal_of(address + name) == 404, name


def test_new_pictures_of_the_library_are_noticed(program: Program) -> None:
    add_to_library(program.config.parent, unit_vectors(5, seed=9), COUNT)
    wait_for(lambda: program.get("health")["pictures"] == COUNT + 5)
    rate_names = {name for pair in program.get("api/pair")["pairs"] for name in (pair["first"], pair["second"])}
    assert rate_names
    with urllib.request.urlopen(program.url + "pictures/" + urllib.request.quote(name_of(COUNT + 1))) as answered:
        assert answered.status == 200


@pytest.mark.parametrize(
    ("vectors", "pairs", "words"),
    [
        (unit_vectors(1), 0, "has 1 picture;"),
        (np.repeat(unit_vectors(1), 6, axis=0), 0, "near-duplicates"),
        (unit_vectors(2), 1, "Every pair has been shown"),
    ],
)
def test_a_library_without_pairs_says_why(tmp_path: Path, vectors: Any, pairs: int, words: str) -> None:
    program = rater(tmp_path, vectors).start()
    deck = program.get("api/pair")
    assert len(deck["pairs"]) == pairs
    for pair in deck["pairs"]:
        deck = answer(program, pair["token"], 0)
    assert words in deck["note"]
    assert program.stop() == 0


def test_pictures_that_are_away_for_a_while_cost_no_pair(program: Program) -> None:
    folder = program.config.parent / "images"
    queued = [(name_of(4), name_of(9)), (name_of(2), name_of(1))]
    write(program, "INSERT INTO queue(meme1, meme2, iteration) VALUES (?, ?, '5')", queued)
    before = program.get("api/pair")["pairs"]
    folder.rename(folder.with_name("elsewhere"))
    for _ in range(2):
        deck = program.get("api/pair")
        assert deck["pairs"] == []
        assert "is empty or away" in deck["note"]
        folder.mkdir(exist_ok=True)  # where a disk is mounted at other times
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    assert program.get("api/pair")["pairs"] == before
    assert rows(program, "SELECT count(*) FROM queue") == [(2,)]
    assert program.get("api/status")["dropped"] == 0


def test_the_few_pictures_that_are_left_of_many_are_found_at_once(tmp_path: Path) -> None:
    with running(rater(tmp_path, unit_vectors(80))) as program:
        for number in range(78):
            (tmp_path / "images" / name_of(number)).unlink()
        (pair,) = program.get("api/pair")["pairs"]
        assert {pair["first"], pair["second"]} == {name_of(78), name_of(79)}
        (tmp_path / "images" / name_of(79)).unlink()
        deck = program.get("api/pair")
        assert deck["pairs"] == []
        assert "Of the library's pictures 1 can be read" in deck["note"]
