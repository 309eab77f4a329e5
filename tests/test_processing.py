"""The queue's server over HTTP: decisions, undo, names that a browser could forge, and what can be in the way."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from launched import PROJECT, free_port
from queued import Desk, wish
from services import digest, draw, running, wait_for


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running(Desk(tmp_path)) as desk:
        yield desk


def test_what_is_kept_lies_in_the_library_under_the_posts_title_and_what_is_discarded_in_the_trash(desk: Desk) -> None:
    desk.queue(1, 0.9, title='A cat: "what?" / <b>')
    desk.queue(2, 0.8)
    card = desk.next()
    assert (card["name"], card["folder"], card["link"]) == ("A cat what b", "", "https://example.org/post")
    kept = desk.decide(card, "keep", folder="cats/small", tags=["funny", " funny ", "cat"])
    assert (kept["moved"], kept["target"], kept["problem"]) == (True, "cats/small/A cat what b.png", None)
    assert desk.next()["folder"] == "cats/small"  # without a backend the last folder is suggested
    desk.decide(desk.next(), "discard")
    assert desk.files() == {"library/cats/small/A cat what b.png", "trash/2.png"}
    labels = desk.rows("SELECT filename, kept, tags, moved, keep FROM decisions ORDER BY id")
    assert labels == [("ab/1.png", 1, '["funny","cat"]', 1, 0.9), ("ab/2.png", 0, "[]", 1, 0.8)]
    assert desk.get("api/folders") == {"folders": ["cats", "cats/small"], "tags": ["funny", "cat"]}
    status = desk.get("api/status")
    assert (status["left"], status["kept_today"], status["precision"]["value"]) == (0, 1, 0.5)
    assert desk.metric('meme_decisions{kind="keep"}') == desk.metric('meme_decisions{kind="discard"}') == 1


def test_the_queue_is_best_first_and_nothing_tells_which_pictures_were_explored(desk: Desk) -> None:
    for seed, keep in ((1, 0.7), (2, 0.9), (3, 0.8)):
        desk.queue(seed, keep)
    assert [card["file"] for card in desk.get("api/next?k=3")["pictures"]] == ["ab/2.png", "ab/3.png", "ab/1.png"]
    for seed in range(10, 30):
        desk.queue(seed, 0.1, explored=True)
    cards = []
    for _ in range(23):
        cards.append(desk.next())
        desk.decide(cards[-1], "later")
    assert "keep" not in cards[0] and "score" not in cards[0] and "explored" not in cards[0]
    places = [place for place, card in enumerate(cards) if card["file"] in ("ab/1.png", "ab/2.png", "ab/3.png")]
    assert places[-1] - places[0] > 3, "explored ones lie between the others"
    assert desk.next()["file"] == cards[0]["file"], "what was put off comes round again"


def test_names_that_are_taken_are_numbered_and_nothing_is_overwritten(desk: Desk) -> None:
    (desk.library / "cat.png").write_bytes(b"was here")
    for seed in (1, 2, 3):
        desk.queue(seed)
        desk.decide(desk.next(), "keep", name="cat.png")
    assert desk.files() == {f"library/cat{number}.png" for number in ("", " (2)", " (3)", " (4)")}
    assert (desk.library / "cat.png").read_bytes() == b"was here"


def test_undo_brings_the_file_back_and_withdraws_the_label(desk: Desk) -> None:
    name = desk.queue(1)
    bytes_before = digest(desk.images / name)
    for decision in ("keep", "discard"):
        made = desk.decide(desk.next(), decision)
        back = desk.post("api/undo", {"id": made["id"]})
        assert back["picture"]["file"] == name and digest(desk.images / name) == bytes_before
        assert desk.rows("SELECT * FROM decisions") == [] and desk.files() == {"images/ab/1.png"}
        assert desk.rows("SELECT keep, model FROM library_queue") == [(0.8, "m")]
        assert desk.post("api/undo", {"id": made["id"]})["picture"] is None, "a second time changes nothing"
    off = desk.decide(desk.next(), "later")
    assert desk.post("api/undo", {"later": off["token"]})["picture"]["file"] == name
    assert desk.post("api/undo", {"later": off["token"]})["picture"] is None


def test_undo_of_a_file_that_others_moved_or_changed_leaves_the_label(desk: Desk) -> None:
    desk.queue(1)
    made = desk.decide(desk.next(), "keep", name="cat")
    (desk.library / "cat.png").write_bytes(b"edited")
    status, sentence = desk.refusal("api/undo", {"id": made["id"]})
    assert status == 409 and "changed" in sentence
    assert desk.rows("SELECT kept, moved FROM decisions") == [(1, 1)]
    assert (desk.library / "cat.png").read_bytes() == b"edited"


def test_undo_takes_another_name_when_the_old_one_is_taken(desk: Desk) -> None:
    name = desk.queue(1)
    made = desk.decide(desk.next(), "discard")
    (desk.images / name).write_bytes(b"another picture")
    assert desk.post("api/undo", {"id": made["id"]})["picture"]["file"] == "ab/1 (2).png"
    assert (desk.images / name).read_bytes() == b"another picture"


def test_a_form_that_is_sent_twice_changes_nothing_twice(desk: Desk) -> None:
    desk.queue(1, 0.9)
    desk.queue(2, 0.8)
    card = desk.next()
    first, second = desk.decide(card, "keep"), desk.decide(card, "keep")
    assert (first["id"], first["target"]) == (second["id"], second["target"])
    status, sentence = desk.refusal("api/decide", wish(card, "discard"))
    assert (status, sentence) == (409, "ab/1.png was kept already; undo that to decide otherwise")
    assert len(desk.rows("SELECT * FROM decisions")) == 1
    card = desk.next()
    desk.decide(card, "later")
    body = {"token": card["token"], "hash": card["hash"], "decision": "later"}
    assert desk.refusal("api/decide", body)[0] == 409
    assert desk.rows("SELECT later FROM library_queue") == [(1,)]
    desk.post("api/undo", {"id": first["id"]})
    assert desk.refusal("api/decide", {**body, "token": "0" * 32})[0] == 409
    assert desk.files() == {"images/ab/1.png", "images/ab/2.png"}


@pytest.mark.parametrize(
    "forged",
    [
        {"folder": "../../etc"}, {"folder": "/etc"}, {"folder": "a/../../b"}, {"folder": "a//b"}, {"folder": "."},
        {"folder": "a\\..\\b"}, {"folder": "out"}, {"folder": "out/deeper"}, {"folder": ".hidden"},
        {"name": "../../etc/passwd"}, {"name": "/etc/passwd"}, {"name": ".."}, {"name": ""}, {"name": " "},
        {"name": "a\0b"}, {"name": "a\nb"}, {"name": "a\u202egnp.exe"}, {"name": ".htaccess"}, {"name": "CON"},
        {"name": "nul.tar"}, {"name": "x" * 300}, {"name": "ö" * 130}, {"name": "a:b"}, {"name": "a."},
        {"folder": "/".join(["a" * 200] * 6)}, {"tags": ["a\nb\0"]}, {"tags": ["x" * 100]},
        {"tags": [str(number) for number in range(40)]}, {"name": 5}, {"path": "/etc/passwd"}, {"decision": "steal"},
        {"hash": "zz"},
    ],
    ids=str,
)  # fmt: skip
def test_forged_names_are_refused_and_nothing_moves(shared: Desk, forged: dict[str, object]) -> None:
    card = shared.next()
    body = {"token": card["token"], "hash": card["hash"], "decision": "keep", "name": "a", "folder": "", **forged}
    status, sentence = shared.refusal("api/decide", body)
    assert status == 400 and len(sentence) > 10
    assert shared.rows("SELECT * FROM decisions") == []
    assert shared.files() == {"images/ab/1.png", "images/ab/link.png"}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A server whose queue nothing may change; its library holds a link that leads out."""
    desk = Desk(tmp_path_factory.mktemp("forged"))
    (desk.library / "out").symlink_to("/tmp")
    desk.start()
    desk.queue(1)
    (desk.images / "ab/link.png").symlink_to("/etc/passwd")
    yield desk
    desk.stop()


@pytest.mark.parametrize(
    "row",
    ["../../../etc/passwd", "/etc/passwd", "ab/link.png", "ab", "", "ab/../../rater_config.json", "a\0b"],
    ids=repr,
)
def test_a_row_of_the_queue_that_names_no_picture_is_neither_shown_nor_given_out(shared: Desk, row: str) -> None:
    with closing(sqlite3.connect(shared.folder / "rater.db")) as db, db:
        db.execute("INSERT INTO library_queue(filename, score, keep) VALUES (?, 9, 0.99)", (row,))
        token = db.execute("SELECT token FROM library_queue WHERE filename = ?", (row,)).fetchone()[0]
    assert [card["file"] for card in shared.get("api/next?k=5")["pictures"]] == ["ab/1.png"]
    with pytest.raises(OSError, match="404"):
        shared.get(f"picture/{token}")
    body = {"token": token, "hash": digest(Path("/etc/passwd")).hex(), "decision": "discard"}
    assert shared.refusal("api/decide", body)[0] == 409
    assert Path("/etc/passwd").is_file() and shared.rows("SELECT * FROM decisions") == []
    with closing(sqlite3.connect(shared.folder / "rater.db")) as db, db:
        db.execute("DELETE FROM library_queue WHERE filename = ?", (row,))


def test_a_picture_that_is_gone_or_was_changed_since_it_was_shown_is_not_decided(desk: Desk) -> None:
    name = desk.queue(1)
    card = desk.next()
    draw(desk.images / name, 77)
    status, sentence = desk.refusal("api/decide", {"token": card["token"], "hash": card["hash"], "decision": "discard"})
    assert status == 409 and "changed" in sentence
    assert "changed" in desk.next()["notice"]
    card = desk.next()
    (desk.images / name).unlink()
    status, sentence = desk.refusal("api/decide", {"token": card["token"], "hash": card["hash"], "decision": "discard"})
    assert status == 409 and "not on the disk" in sentence
    answer = desk.get("api/next")
    assert (answer["pictures"], answer["status"]["left"]) == ([], 1), "it stays in the queue in case it comes back"


def test_a_library_that_is_away_gets_its_pictures_when_it_is_back(desk: Desk) -> None:
    desk.queue(1)
    desk.library.rename(desk.folder / "elsewhere")
    made = desk.decide(desk.next(), "keep", name="cat")
    assert not made["moved"] and "is not there" in made["problem"] and "stored" in made["problem"]
    assert desk.files() == {"images/ab/1.png"} and desk.rows("SELECT kept, moved FROM decisions") == [(1, 0)]
    assert "is not there" in desk.get("api/status")["problem"]
    (desk.folder / "elsewhere").rename(desk.library)
    desk.stop()
    desk.start()
    assert desk.files() == {"library/cat.png"} and desk.get("api/status")["problem"] is None


def test_a_decision_that_could_not_be_carried_out_can_be_undone(desk: Desk) -> None:
    desk.queue(1)
    desk.library.rename(desk.folder / "elsewhere")
    made = desk.decide(desk.next(), "keep")
    assert desk.post("api/undo", {"id": made["id"]})["picture"]["file"] == "ab/1.png"
    assert desk.files() == {"images/ab/1.png"} and desk.rows("SELECT * FROM decisions") == []


def test_whoever_kills_the_server_at_any_moment_loses_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    for seed in range(60):
        desk.queue(seed, title="the same name")
    wanted = {digest(path) for path in desk.images.rglob("*.png")}
    desk.start()
    for round_ in range(6):
        client = subprocess.Popen([sys.executable, str(Path(__file__).with_name("deciding.py")), desk.url])
        wait_for(lambda count=round_ * 5 + 5: len(desk.rows("SELECT 1 FROM decisions")) >= count or None)
        desk.stop(signal.SIGKILL)
        client.kill()
        client.wait()
        present = [digest(path) for folder in (desk.images, desk.library, desk.trash) for path in pngs(folder)]
        assert set(present) == wanted, "every picture is somewhere"
        desk.start()
        present = [digest(path) for folder in (desk.images, desk.library, desk.trash) for path in pngs(folder)]
        assert sorted(present) == sorted(wanted), "every picture is in exactly one place"
        assert desk.rows("SELECT count(*) FROM decisions WHERE moved != 1") == [(0,)]
        labels = {(bytes(h), kept, target) for h, kept, target in desk.rows("SELECT hash, kept, target FROM decisions")}
        lying = {(digest(p), 1, str(p.relative_to(desk.library))) for p in pngs(desk.library)}
        lying |= {(digest(p), 0, str(p.relative_to(desk.trash))) for p in pngs(desk.trash)}
        assert labels == lying, "what was moved has its label, and the label says where it lies"
        queued = {name for (name,) in desk.rows("SELECT filename FROM library_queue")}
        assert queued == {str(path.relative_to(desk.images)) for path in pngs(desk.images)}
    desk.stop()


def pngs(folder: Path) -> list[Path]:
    return list(folder.rglob("*.png"))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"library": None}, "`library` must name"),
        ({"library": "nowhere"}, "is not a folder"),
        ({"library": "images/kept"}, "must not lie inside"),
        ({"trash": "library/trash"}, "must not lie inside"),
        ({"library_backend": "localhost"}, "`library_backend` must be a URL"),
        ({"mse_config": "none.json"}, "none.json: cannot be read"),
    ],
    ids=str,
)
def test_a_configuration_that_cannot_be_used_ends_with_one_line_and_status_2(
    tmp_path: Path, change: dict[str, object], part: str
) -> None:
    desk = Desk(tmp_path)
    (tmp_path / "images/kept").mkdir()
    desk.config.write_text(json.dumps({**desk.settings, "queue_port": free_port(), **change}))
    command = [sys.executable, str(PROJECT / desk.script), str(desk.config)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 2 and ended.stdout == "" and len(ended.stderr.splitlines()) == 1
    assert part in ended.stderr and "Traceback" not in ended.stderr


def test_pages_of_other_origins_decide_nothing(desk: Desk) -> None:
    request = urllib.request.Request(desk.url + "api/decide", b"{}", {"Origin": "https://elsewhere.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)
    assert os.listdir(desk.trash) == []
