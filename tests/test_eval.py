"""Blind evaluation with the real program: a sample library, a trained model, judgements, and the report."""

import http.client
import json
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from judging import SIMILARITY, Evaluation
from launched import PROJECT
from services import Program, clip_server, configure_pictures, write_rows

from memesearch.library.pool import Pool
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import read_examples
from memesearch.rater.judging.drawing import SPANS, percentiles
from memesearch.taste.checkpoint import load
from memesearch.taste.groups import near_duplicate_groups
from memesearch.taste.ridge import Ridge


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Configuration of an indexed sample library."""
    folder = tmp_path_factory.mktemp("library")
    made = [sys.executable, str(PROJECT / "demo/sample_library.py"), str(folder / "images")]
    subprocess.run(made, check=True, capture_output=True)
    service = clip_server(folder).start()
    config = configure_pictures(folder, clip_server=service.url, decode_workers=1)
    subprocess.run([sys.executable, str(PROJECT / "mse.py"), str(config)], check=True, capture_output=True)
    assert service.stop() == 0
    return config


def test_a_run_holds_pictures_at_random_and_from_every_height_none_of_them_labelled_or_twice(
    evaluation: Evaluation, pool: Pool
) -> None:
    assert "run first: " in evaluation.succeed("make", "--run", "first", "--per-group", "3", "--random", "40")
    drawn = evaluation.rows("SELECT kind, filename, percentile FROM judged_pages")
    names = [name for _, name, _ in drawn]
    heights = np.array([percentile for kind, _, percentile in drawn if kind == "percentiles"])
    assert sum(kind == "random" for kind, _, _ in drawn) == 40
    groups = near_duplicate_groups(pool.vectors, SIMILARITY)
    group = dict(zip(pool.names, groups.tolist(), strict=True))
    shown, labelled = {group[name] for name in names}, {int(groups[row]) for row in evaluation.labelled}
    assert len(shown) == len(names)
    assert not shown & labelled
    every_height = percentiles(load(evaluation.good_model).model.keep_probability(pool.vectors))
    for low, high in pairwise(SPANS):
        count = int(((heights >= low) & (heights < high)).sum())
        left = set(groups[(every_height >= low) & (every_height < high)].tolist()) - labelled - shown
        assert count == 3 or (count < 3 and not left), (low, high)


def test_a_second_run_shows_what_was_not_judged_and_a_name_is_used_once(evaluation: Evaluation) -> None:
    evaluation.succeed("make", "--run", "one", "--per-group", "0", "--random", "60")
    evaluation.judge_all("one")
    evaluation.succeed("make", "--run", "two", "--per-group", "0", "--random", "60")
    both = evaluation.rows("SELECT filename FROM judged_pages GROUP BY filename HAVING count(*) > 1")
    assert both == []
    ended = evaluation.run("make", "--run", "two")
    assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1)
    assert "there is a run two already" in ended.stderr
    assert "fewer than asked for" in evaluation.succeed("make", "--per-group", "0", "--random", "9999")


def test_the_report_has_figures_plots_and_a_text(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.succeed("make", "--run", "r", "--per-group", "5", "--random", "120")
    evaluation.judge_all("r")
    text = evaluation.succeed("report")
    folder = tmp_path / "evaluations" / "r"
    found = json.loads((folder / "figures.json").read_text())
    assert found["auroc"]["low"] < found["auroc"]["value"] < found["auroc"]["high"]
    assert found["auroc"]["value"] > 0.8
    assert (found["random"], found["waiting"], found["left_out_related"], found["left_out_lost"]) == (120, 0, 0, 0)
    spans = {(span["from"], span["to"]): span["value"] for span in found["kept_by_percentile"]}
    assert spans[max(spans)] > spans[min(spans)]
    assert (folder / "summary.txt").read_text() in text and "AUROC (DeLong)" in text
    for name in ("roc", "precision_recall", "calibration", "kept_by_percentile"):
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text()


def test_pictures_that_were_labelled_later_and_their_near_duplicates_are_left_out(evaluation: Evaluation) -> None:
    evaluation.succeed("make", "--run", "r", "--per-group", "0", "--random", "50")
    evaluation.judge_all("r")
    with sqlite3.connect(evaluation.folder / "rater.db") as db:
        names = [row[0] for row in db.execute("SELECT filename FROM judged_pages WHERE run = 'r' LIMIT 6")]
        for first, second in zip(names[::2], names[1::2], strict=True):
            db.execute("INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, '1')", (first, second))
    text = evaluation.succeed("report")
    found = json.loads((evaluation.folder / "evaluations/r/figures.json").read_text())
    assert (found["random"], found["left_out_related"]) == (44, 6)
    assert "6 are left out because a label speaks of them" in text


def test_judged_pictures_whose_near_duplicate_was_labelled_are_left_out(evaluation: Evaluation, pool: Pool) -> None:
    evaluation.succeed("make", "--run", "r", "--per-group", "0", "--random", "300")
    evaluation.judge_all("r")
    groups = near_duplicate_groups(pool.vectors, SIMILARITY)
    drawn = {row[0] for row in evaluation.rows("SELECT filename FROM judged_pages")}
    twins = [
        (one, other)
        for one, other in np.argwhere(np.triu(groups[:, None] == groups[None], 1)).tolist()
        if (pool.names[one] in drawn) != (pool.names[other] in drawn)
    ]
    one, other = next(pair for pair in twins if pool.vectors[pair[0]] @ pool.vectors[pair[1]] > SIMILARITY)
    twin = other if pool.names[one] in drawn else one
    with sqlite3.connect(evaluation.folder / "rater.db") as db:
        values = (pool.names[twin], pool.names[evaluation.labelled[0]])
        db.execute("INSERT INTO ratings(meme1, meme2, rating) VALUES (?, ?, '1')", values)
    evaluation.succeed("report")
    found = json.loads((evaluation.folder / "evaluations/r/figures.json").read_text())
    assert found["left_out_related"] == 1


def test_two_models_are_compared_on_the_same_pictures(evaluation: Evaluation) -> None:
    evaluation.succeed("make", "--run", "r", "--per-group", "0", "--random", "150")
    evaluation.judge_all("r")
    database = RaterDatabase(evaluation.folder / "rater.db")
    labels = read_examples(database, evaluation.pool).labels
    database.close()
    few = labels.only(np.arange(len(labels.first)) < 1, np.arange(len(labels.item)) < 2)
    worse = evaluation.train(Ridge(), few)
    text = evaluation.succeed("report", "--model", evaluation.good_model.name, "--against", str(worse))
    found = json.loads((evaluation.folder / "evaluations/r/figures.json").read_text())
    assert found["auroc_above_it"]["low"] > 0
    assert f"AUROC above that of {worse.name}" in text


def test_too_few_judgements_are_said_and_not_drawn(evaluation: Evaluation) -> None:
    ended = evaluation.run("report")
    assert ended.returncode == 1 and "make one first" in ended.stderr
    evaluation.succeed("make", "--run", "r", "--per-group", "0", "--random", "5")
    text = evaluation.succeed("report")
    assert "nothing is judged yet" in text and "roc: too few judgements" in text
    assert not (evaluation.folder / "evaluations/r/roc.png").exists()


@pytest.mark.parametrize("name", ["../../elsewhere", "", ".hidden", "a/b"])
def test_a_runs_name_is_no_path(evaluation: Evaluation, name: str) -> None:
    ended = evaluation.run("make", "--run", name)
    assert ended.returncode == 2 and "a run's name has letters" in ended.stderr


@pytest.mark.parametrize("break_it", ["no model", "no configuration"])
def test_what_cannot_be_used_is_one_line_and_status_2(evaluation: Evaluation, break_it: str) -> None:
    (evaluation.folder / ("models/current" if break_it == "no model" else "rater_config.json")).unlink()
    ended = evaluation.run("make")
    assert ended.returncode == 2 and len(ended.stderr.splitlines()) == 1


def test_a_report_that_cannot_be_written_is_told(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.succeed("make", "--run", "r", "--per-group", "1", "--random", "4")
    (tmp_path / "file").touch()
    ended = evaluation.run("report", "--output", str(tmp_path / "file" / "report"))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "the report cannot be written: Not a directory" in ended.stderr and "Traceback" not in ended.stderr


def test_the_server_tells_nothing_that_could_bias_and_takes_judgements_twice(evaluation: Evaluation) -> None:
    evaluation.succeed("make", "--run", "r", "--per-group", "2", "--random", "10")
    evaluation.serve()
    answer = evaluation.get("api/run")
    assert set(answer) == {"run", "pages"} and len(answer["pages"]) == 2
    assert all(set(page) == {"places", "judged"} for page in answer["pages"])
    place = answer["pages"][0]["places"][3]
    for good in (True, True, False):
        assert send(evaluation, "PUT", place, {"good": good}) == 200
    assert [row[0] for row in evaluation.rows("SELECT good FROM judgements")] == [0]
    assert evaluation.get("api/run")["pages"][0]["judged"] == [place]
    other = answer["pages"][0]["places"][1]
    assert send(evaluation, "PUT", other, {"good": True}) == 200
    earlier = ("UPDATE judgements SET at = at - ? WHERE good", (86_400,))  # the clock was set back meanwhile
    write_rows(evaluation.folder / "rater.db", *earlier)
    assert evaluation.get("api/run")["pages"][0]["judged"] == [place, other]
    assert send(evaluation, "DELETE", other) == 200
    assert (send(evaluation, "DELETE", place), send(evaluation, "DELETE", place)) == (200, 200)
    assert evaluation.rows("SELECT * FROM judgements") == []
    assert send(evaluation, "PUT", 99_999, {"good": True}) == 404
    assert send(evaluation, "PUT", place, {"good": "yes"}) == 400
    assert send(evaluation, "PUT", place, {"good": True}, Origin="http://evil.example") == 403
    assert send(evaluation, "GET", "../../rater.db") == 404


def send(program: Program, method: str, place: Any, body: Any = None, **headers: str) -> int:
    """Status of a request about a judgement."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=30)
    try:
        connection.request(method, f"/api/judgements/{place}", json.dumps(body) if body else None, headers)
        return connection.getresponse().status
    finally:
        connection.close()
