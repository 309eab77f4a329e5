"""The queue's server where things go wrong around it: labels keep their vectors, logs stay short."""

import json
import subprocess
import sys
import urllib.error
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import fill, small_disk
from launched import PROJECT
from queued import Desk
from services import Program, backend, running

from memesearch.rater.database import RaterDatabase


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running(Desk(tmp_path)) as desk:
        yield desk


def index(desk: Desk, service: Program) -> None:
    """Index the pictures as the pipeline does."""
    folder = desk.folder / "crawled"
    folder.mkdir(exist_ok=True)
    once = backend(folder, service, desk.images, db_path="../images.db", no_run_server=True)
    subprocess.run([sys.executable, str(PROJECT / "mse.py"), str(once.config)], check=True, capture_output=True)


def test_a_picture_that_is_decided_the_moment_it_was_queued_leaves_its_vector(desk: Desk, service: Program) -> None:
    for seed in (1, 2):
        desk.queue(seed)
        index(desk, service)
        desk.decide(desk.next(), "discard")
    assert desk.rows("SELECT count(*) FROM decisions JOIN vectors USING (hash)") == [(2,)]


@pytest.mark.parametrize("count", ["0", "6", "-1", "1.5", "\u0661", "0001" + "0" * 5000, ""])
def test_a_number_of_pictures_that_is_none_is_refused(desk: Desk, count: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as refusal:
        desk.get("api/next?k=" + urllib.parse.quote(count))
    assert refusal.value.code == 400 and json.load(refusal.value)["error"] == "`k` must be between 1 and 5"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB."""
    with small_disk(tmp_path / "disk", "2m") as disk:
        yield disk


@pytest.mark.parametrize("made", [True, False])
def test_a_disk_that_is_full_at_the_start_is_named_and_costs_nothing(tmp_path: Path, disk: Path, made: bool) -> None:
    desk = Desk(tmp_path, database="disk/rater.db", sources=[{"type": "folder", "path": "stream"}])
    if made:
        RaterDatabase(disk / "rater.db").close()
    filling = fill(disk)
    for program in ("library_processing_server", "crawler"):
        command = [sys.executable, str(PROJECT / f"meme-rater/{program}.py"), str(desk.config)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1)
        assert f"{disk}/rater.db" in ended.stderr and "its disk is full; make room" in ended.stderr
    filling.unlink()
    desk.start()
    assert desk.get("api/status")["left"] == 0
    assert desk.stop() == 0
