"""Where decisions meet the disk: other disks, full ones, moves that were broken off, the trash, locked databases."""

import errno
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from disks import small_disk
from queued import Desk
from services import backend, clip_server, digest, draw, wait_for, wait_until_idle

from memesearch.config import load_config
from memesearch.errors import Unavailable
from memesearch.library.pool import Pool, read_pool
from memesearch.rater.config import RaterConfig
from memesearch.rater.database import RaterDatabase
from memesearch.rater.examples import read_examples
from memesearch.rater.pipeline.chosen import threshold_now
from memesearch.rater.processing import queue
from memesearch.rater.processing.decisions import Decisions, Folders
from memesearch.rater.processing.moving import CannotMove
from memesearch.rater.processing.standing import standing
from memesearch.rater.processing.trash import DAY, expire
from memesearch.taste.measures import wilson


class Table:
    """Decisions without a server around them."""

    def __init__(self, folder: Path, library: Path | None = None) -> None:
        self.folders = Folders(folder / "images", library or folder / "library", folder / "trash")
        for path in (self.folders.images, self.folders.library, self.folders.trash):
            path.mkdir(exist_ok=True)
        self.database = RaterDatabase(folder / "rater.db")
        self.vectors: Pool | None = None
        self.decisions = Decisions(self.database, self.folders, lambda _digest: self.vectors)

    def queued(self, seed: int, size: tuple[int, int] = (120, 90)) -> tuple[str, bytes]:
        """Token and hash of a fresh picture in the queue."""
        path = self.folders.images / f"{seed}.png"
        draw(path, seed, size)
        with self.database.transaction() as db:
            queue.add(db, path.name, digest(path), 0.0, 0.8)
        with self.database.reading() as db:
            row = queue.named(db, path.name)
        assert row is not None and row.hash is not None
        return row.token, row.hash

    def rows(self, statement: str) -> list[tuple[object, ...]]:
        with self.database.reading() as db:
            return db.execute(statement).fetchall()


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    table = Table(tmp_path)
    yield table
    table.database.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Another disk, of 64 kB."""
    with small_disk(tmp_path / "small", "64k") as disk:
        yield disk


def noise(path: Path, size: int) -> bytes:
    path.write_bytes(np.random.default_rng(size).bytes(size))
    return digest(path)


def test_a_full_disk_leaves_the_picture_where_it_is_and_the_move_is_made_when_there_is_room(
    tmp_path: Path, disk: Path
) -> None:
    table = Table(tmp_path, disk)
    token, _ = table.queued(1)
    path = table.folders.images / "1.png"
    content = noise(path, 40_000)
    (disk / "large").write_bytes(b"x" * 40_000)
    made = table.decisions.keep(token, content, "cats/a.png", [])
    assert made.problem is not None and "the disk is full; make room" in made.problem
    assert digest(path) == content and [p.name for p in disk.rglob("*") if p.is_file()] == ["large"]
    assert table.rows("SELECT kept, moved FROM decisions") == [(1, 0)]
    assert len(table.decisions.finish_all()) == 1
    (disk / "large").unlink()
    assert table.decisions.finish_all() == []
    assert digest(disk / "cats/a.png") == content and not path.exists()
    assert [p.name for p in disk.rglob("*") if p.is_file()] == ["a.png"], "no part of a copy is left"
    table.database.close()


def test_another_disk_gets_a_copy_and_a_taken_name_is_numbered(tmp_path: Path, disk: Path) -> None:
    table = Table(tmp_path, disk)
    (disk / "a.png").write_bytes(b"was here")
    token, content = table.queued(1)
    os.utime(table.folders.images / "1.png", (1_000_000, 1_000_000))
    made = table.decisions.keep(token, content, "a.png", [])
    assert made.problem is None and made.decision.target == "a (2).png"
    assert digest(disk / "a (2).png") == content and (disk / "a.png").read_bytes() == b"was here"
    assert (disk / "a (2).png").stat().st_mtime == 1_000_000
    table.decisions.undo(made.decision.id)
    assert digest(table.folders.images / "1.png") == content and not (disk / "a (2).png").exists()
    table.database.close()


@pytest.mark.parametrize("reached", ["stored", "linked", "unlinked", "copied", "claimed"])
def test_a_move_that_was_broken_off_is_finished_from_wherever_it_stood(table: Table, reached: str) -> None:
    token, content = table.queued(1)
    made = table.decisions.keep(token, content, "a.png", ["x"]).decision
    old, new = table.folders.images / "1.png", table.folders.library / "a.png"
    if reached == "copied":  # to another disk
        old.write_bytes(new.read_bytes())
    elif reached != "unlinked":
        os.link(new, old)
    if reached in ("stored", "claimed"):
        new.unlink()
    if reached == "claimed":  # on a disk without hard links
        new.touch()
    with table.database.transaction() as db:
        db.execute("UPDATE decisions SET moved = 0")
    assert table.decisions.finish_all() == []
    assert not old.exists() and digest(new) == content
    assert table.decisions.get(made.id).moved == 1
    assert list(table.folders.library.iterdir()) == [new]


@pytest.mark.parametrize("reached", ["stored", "linked", "unlinked"])
def test_an_undo_that_was_broken_off_is_finished_too(table: Table, reached: str) -> None:
    token, content = table.queued(1)
    made = table.decisions.discard(token, content).decision
    old, trashed = table.folders.images / "1.png", table.folders.trash / str(made.target)
    if reached != "stored":
        os.link(trashed, old)
    if reached == "unlinked":
        trashed.unlink()
    with table.database.transaction() as db:
        db.execute("UPDATE decisions SET moved = -1")
    assert table.decisions.finish_all() == []
    assert digest(old) == content and not trashed.exists()
    assert (
        table.rows("SELECT filename FROM library_queue") == [("1.png",)] and table.rows("SELECT 1 FROM decisions") == []
    )


def test_a_disk_without_hard_links_is_moved_to_without_overwriting(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    (table.folders.library / "a.png").write_bytes(b"was here")
    token, content = table.queued(1)
    made = table.decisions.keep(token, content, "a.png", [])
    assert (made.problem, made.decision.target) == (None, "a (2).png")
    assert digest(table.folders.library / "a (2).png") == content
    assert (table.folders.library / "a.png").read_bytes() == b"was here"
    table.decisions.undo(made.decision.id)
    assert digest(table.folders.images / "1.png") == content
    assert [path.name for path in table.folders.library.iterdir()] == ["a.png"]


def test_what_keeps_many_files_from_being_moved_is_logged_once(table: Table, caplog: pytest.LogCaptureFixture) -> None:
    table.folders.library.rmdir()
    for seed in range(12):
        table.decisions.keep(*table.queued(seed), f"{seed}.png", [])
    assert len(table.decisions.finish_all()) == len(table.decisions.finish_all()) == 12
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_picture_that_was_replaced_in_the_queue_says_nothing_about_the_threshold(table: Table) -> None:
    token, content = table.queued(1)
    draw(table.folders.images / "1.png", 99)
    table.decisions.discard(token, digest(table.folders.images / "1.png"))
    assert content != digest(table.folders.trash / str(table.rows("SELECT target FROM decisions")[0][0]))
    assert threshold_now(table.database, 0.75).decisions == 0
    assert standing(table.database).precision is None


def test_a_library_that_may_not_be_written_to_is_named_and_nothing_moves(table: Table) -> None:
    token, content = table.queued(1)
    table.folders.library.rmdir()
    table.folders.library.write_bytes(b"a file where the folder should be")
    made = table.decisions.keep(token, content, "a.png", [])
    assert "is not there" in str(made.problem) and (table.folders.images / "1.png").is_file()
    with pytest.raises(CannotMove):
        table.folders.images.rename(table.folders.images.with_name("away"))
        table.decisions.undo(made.decision.id)


def test_a_folder_that_became_a_link_out_of_the_library_is_not_followed(table: Table, tmp_path: Path) -> None:
    token, content = table.queued(1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (table.folders.library / "cats").symlink_to(outside)
    made = table.decisions.keep(token, content, "cats/a.png", [])
    assert "leads out" in str(made.problem) and list(outside.iterdir()) == []
    assert (table.folders.images / "1.png").is_file()


def test_the_trash_expires_by_age_and_only_what_is_stored_as_discarded(table: Table) -> None:
    made = [table.decisions.discard(*table.queued(seed)).decision for seed in (1, 2, 3)]
    kept = table.decisions.keep(*table.queued(4), "a.png", []).decision
    with table.database.transaction() as db:
        db.execute(
            "UPDATE decisions SET at = at - ? WHERE id IN (?, ?, ?)", (31 * DAY, made[0].id, made[2].id, kept.id)
        )
    day = table.folders.trash / str(made[0].target).split("/")[0]
    (day / "3.png").write_bytes(b"another file of that name")
    (day / "unknown.png").write_bytes(b"somebody put it here")
    os.utime(day / "unknown.png", (0, 0))
    assert expire(table.database, table.folders.trash, 30) == 1
    assert sorted(path.name for path in day.iterdir()) == ["2.png", "3.png", "unknown.png"]
    assert (table.folders.library / "a.png").is_file()
    assert table.rows("SELECT count(*) FROM decisions") == [(4,)], "labels stay"
    assert expire(table.database, table.folders.trash, 0, time.time() + 1) == 1
    assert sorted(path.name for path in day.iterdir()) == ["3.png", "unknown.png"]


def test_a_folder_of_the_trash_goes_with_its_last_picture(table: Table) -> None:
    table.decisions.discard(*table.queued(1))
    assert expire(table.database, table.folders.trash, 0, time.time() + 1) == 1
    assert list(table.folders.trash.iterdir()) == []


def test_a_database_that_another_program_holds_stores_nothing_and_moves_nothing(table: Table) -> None:
    token, content = table.queued(1)
    with table.database.reading() as db:
        db.execute("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(table.database.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked"):
        table.decisions.keep(token, content, "a.png", [])
    assert (table.folders.images / "1.png").is_file() and list(table.folders.library.iterdir()) == []
    other.execute("ROLLBACK")
    other.close()
    assert table.decisions.keep(token, content, "a.png", []).decision.moved == 1


def test_a_picture_is_queued_once_and_not_again_when_it_was_decided(table: Table) -> None:
    token, content = table.queued(1)
    with table.database.transaction() as db:
        assert not queue.add(db, "1.png", content, 0.0, 0.5)
    table.decisions.discard(token, content)
    with table.database.transaction() as db:
        assert not queue.add(db, "again.png", content, 0.0, 0.5)


def test_the_interval_of_a_share_is_wilsons() -> None:
    share = wilson(8, 10)  # by hand: (8 + 1.9208) / 13.8416 ± 1.95996 / 1.38415 * sqrt(0.016 + 0.009604)
    assert (round(share.low, 3), round(share.high, 3)) == (0.490, 0.943)
    assert wilson(0, 5).low == pytest.approx(0.0) and wilson(5, 5).high == pytest.approx(1.0)


def test_the_folder_of_the_nearest_pictures_is_suggested_and_vectors_of_labels_stay(tmp_path: Path) -> None:
    service = clip_server(tmp_path).start()
    library = tmp_path / "library"
    for seed, folder in ((1, "cats"), (2, "dogs/small"), (3, "birds")):
        draw(library / folder / f"{seed}.png", seed)
    searched = backend(tmp_path, service, library).start()
    desk = Desk(tmp_path, library_backend=searched.url)
    for seed in (1, 2, 3):
        desk.queue(seed, 0.9 - seed / 10)
        draw(desk.images / f"ab/{seed}.png", seed, (240, 180))
    crawled = tmp_path / "crawled"
    crawled.mkdir()
    indexing = backend(crawled, service, desk.images, db_path="../images.db")
    indexing.start()
    try:
        for program in (searched, indexing):
            wait_until_idle(program)
            wait_for(lambda program=program: program.get("api/status")["files"] == 3)
        desk.start()
        cards = desk.get("api/next?k=3")["pictures"]
        assert [card["folder"] for card in cards] == ["cats", "dogs/small", "birds"]
        searched.stop()
        desk.decide(cards[0], "keep")
        desk.decide(cards[1], "discard")
        assert desk.get("api/next?k=1")["pictures"][0]["folder"] == "birds"
        assert len(desk.rows("SELECT * FROM vectors")) == 2
        wait_for(lambda: indexing.post("reload_index", b"") and indexing.get("api/status")["files"] == 1)
        config = load_config(desk.config, RaterConfig)
        database = RaterDatabase(Path(config.database))
        examples = read_examples(database, read_pool(tmp_path / "images.db"))
        database.close()
        assert (examples.labels.kept.tolist(), examples.lost) == ([True, False], 0)
    finally:
        for program in (service, searched, indexing, desk):
            if program.process is not None and program.process.poll() is None:
                program.stop()
