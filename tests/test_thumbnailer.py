"""thumbnailer.py keeps a folder of thumbnails in step with the library, whatever happens meanwhile."""

import fcntl
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from disks import small_disk
from PIL import Image
from thumbnailing import Library, paint

from memesearch.library.scan import scan
from memesearch.thumbs.formats import FORMATS, GRID

CORPUS = Path(os.environ.get("MSE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus"))
ALL = [kind.name for kind in FORMATS]


def decodes(path: Path) -> bool:
    with Image.open(path) as image:
        image.load()
    return True


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """Four indexed pictures, one of them twice."""
    made = Library(tmp_path)
    for seed in range(3):
        paint(made.pictures / f"{seed}.png", seed)
    (made.pictures / "copy.png").write_bytes((made.pictures / "0.png").read_bytes())
    made.index(["0.png", "1.png", "2.png", "copy.png"])
    return made


def test_every_picture_gets_every_format_and_a_second_run_makes_nothing(library: Library) -> None:
    first = library.run()
    assert (first.returncode, first.stderr) == (0, "")
    assert "3 pictures: 18 thumbnails made, 0 were there, 0 removed, 0 cannot be made" in first.stdout
    for name in ("0.png", "1.png", "2.png", "copy.png"):
        assert all(decodes(library.thumbnail(name, kind)) for kind in ALL)
    times = {path: (library.output / path).lstat().st_mtime_ns for path in library.files()}
    assert len(times) == 18
    assert "0 thumbnails made, 18 were there" in library.run().stdout
    assert {path: (library.output / path).lstat().st_mtime_ns for path in library.files()} == times


def test_renamed_files_cost_nothing_edited_ones_are_made_anew_and_gone_ones_removed(library: Library) -> None:
    library.run()
    before = library.files()
    (library.pictures / "1.png").rename(library.pictures / "renamed.png")
    library.index(["0.png", "copy.png", "renamed.png", "2.png"])
    assert "0 thumbnails made, 18 were there, 0 removed" in library.run().stdout
    assert library.files() == before
    paint(library.pictures / "2.png", 99)
    (library.pictures / "copy.png").unlink()
    library.index(["0.png", "renamed.png", "2.png"])
    assert "6 thumbnails made, 12 were there, 6 removed" in library.run().stdout
    (library.pictures / "0.png").unlink()
    library.index(["renamed.png", "2.png"])
    assert "0 thumbnails made, 12 were there, 6 removed" in library.run().stdout
    assert all(library.thumbnail(name, kind).exists() for name in ("renamed.png", "2.png") for kind in ALL)
    assert len(library.files()) == 12


def test_a_link_to_a_small_picture_follows_it_when_it_is_renamed(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=["jpeg-fullscale"])
    Image.new("P", (30, 30)).save(library.pictures / "dot.gif")
    library.index(["dot.gif"])
    library.run()
    link = library.thumbnail("dot.gif", "jpeg-fullscale")
    assert link.is_symlink()
    assert link.resolve() == library.pictures / "dot.gif"
    (library.pictures / "dot.gif").rename(library.pictures / "moved.gif")
    library.index(["moved.gif"])
    assert "0 thumbnails made, 1 were there" in library.run().stdout
    assert link.resolve() == library.pictures / "moved.gif"


def test_an_empty_library_removes_nothing(library: Library) -> None:
    library.run()
    library.index([])
    assert "0 pictures: 0 thumbnails made, 0 were there, 0 removed" in library.run().stdout
    assert len(library.files()) == 18


def test_a_picture_that_cannot_be_held_is_listed_and_not_tried_again(library: Library) -> None:
    Image.new("RGB", (66_000, 4)).save(library.pictures / "long.png")
    library.index(["0.png", "long.png"])
    ended = library.run()
    assert ended.returncode == 0
    assert "9 thumbnails made, 0 were there, 0 removed, 3 cannot be made" in ended.stdout
    assert "'long.png', jpeg-fullscale: cannot be encoded" in ended.stdout
    again = library.run()
    assert "0 thumbnails made, 9 were there, 0 removed, 3 cannot be made" in again.stdout
    assert "'long.png', jpeg-fullscale" in again.stdout
    library.index(["0.png"])
    assert "0 cannot be made" in library.run().stdout
    assert "long.png" not in library.run().stdout


def test_pictures_that_went_or_changed_meanwhile_are_said_and_left_alone(library: Library) -> None:
    paint(library.pictures / "1.png", 50)
    (library.pictures / "2.png").unlink()
    ended = library.run()
    assert "6 thumbnails made" in ended.stdout
    assert "pictures went or changed since they were indexed" in ended.stdout
    assert not library.thumbnail("1.png", GRID).exists()


def test_names_of_all_kinds_are_thumbnailed(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=[GRID])
    names = ["a" * 251 + ".png", "line\nbreak.png", 'quo"te<script>.png', "ünï🙂.png", "-rf.png", "deep/er/x.png"]
    for seed, name in enumerate(names):
        paint(library.pictures / name, seed)
    library.index(names)
    assert "6 thumbnails made" in library.run().stdout
    assert all(decodes(library.thumbnail(name, GRID)) for name in names)


def test_the_output_may_lie_in_the_folder_of_pictures_and_is_not_taken_for_them(tmp_path: Path) -> None:
    library = Library(tmp_path, tmp_path / "pictures" / "small")
    paint(library.pictures / "a.png", 1)
    library.index(["a.png"])
    assert "6 thumbnails made" in library.run().stdout
    assert set(scan(library.pictures).files) == {"a.png"}
    assert "0 thumbnails made" in library.run().stdout


def test_a_second_run_beside_another_says_so_and_waits_for_it(library: Library) -> None:
    library.output.mkdir()
    with (library.output / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        waiting = subprocess.Popen(library.command(), stderr=subprocess.PIPE, text=True)
        assert waiting.stderr is not None
        assert "another run is making the thumbnails" in waiting.stderr.readline()
        assert library.files() == set()
    assert waiting.wait(60) == 0
    waiting.stderr.close()
    assert len(library.files()) == 18


def test_workers_that_are_killed_cost_no_picture(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=["avif-hq"])
    names = [f"{seed}.png" for seed in range(30)]
    for seed, name in enumerate(names):
        paint(library.pictures / name, seed, (900, 700))
    library.index(names)
    process = subprocess.Popen(library.command(), stdout=subprocess.DEVNULL)
    for _ in range(40):
        subprocess.run(["pkill", "-9", "-f", "memesearch.thumbs.worker"], check=False)
        time.sleep(0.1)
    assert process.wait(120) == 0
    assert library.run().returncode == 0
    assert library.files() == {str(library.thumbnail(name, "avif-hq").relative_to(library.output)) for name in names}


def test_a_folder_that_cannot_be_written_is_said_and_costs_no_picture(library: Library) -> None:
    shard = library.thumbnail("0.png", GRID).parent
    library.output.mkdir()
    (library.output / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55")
    shard.write_text("a file where a folder should be")
    ended = library.run()
    assert ended.returncode == 1
    assert (ended.stderr.count("\n"), str(shard) in ended.stderr) == (1, True)
    shard.unlink()
    assert "0 cannot be made\n" in library.run().stdout
    assert len(library.files()) == 18


@pytest.mark.parametrize("where", ["pictures", ".", "pictures/holiday"])
def test_folders_that_hold_pictures_are_refused_as_output(tmp_path: Path, where: str) -> None:
    library = Library(tmp_path, tmp_path / where)
    paint(library.pictures / "holiday/a.png", 1)
    library.index(["holiday/a.png"])
    ended = library.run()
    assert ended.returncode == 2
    assert "thumbnails need a folder of their own" in ended.stderr
    assert not list(tmp_path.rglob("CACHEDIR.TAG"))


def test_a_tag_that_a_full_disk_left_empty_is_written_again(library: Library) -> None:
    library.output.mkdir()
    (library.output / "CACHEDIR.TAG").touch()
    assert library.run().returncode == 0
    assert (library.output / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_two_runs_at_once_end_with_everything_made_once(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=[GRID, "jpeg-800"])
    for seed in range(30):
        paint(library.pictures / f"{seed}.png", seed)
    library.index([f"{seed}.png" for seed in range(30)])
    both = [subprocess.Popen(library.command(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert len(library.files()) == 60
    assert any("60 thumbnails made" in text for text in said)


def test_killed_at_any_moment_it_leaves_no_half_file_and_the_next_run_makes_the_rest(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=[GRID, "jpeg-800", "avif-lq"])
    names = [f"{seed}.png" for seed in range(60)]
    for seed, name in enumerate(names):
        paint(library.pictures / name, seed, (900, 700))
    library.index(names)
    moments = random.Random(4)
    for _ in range(50):
        process = subprocess.Popen(library.command(), stdout=subprocess.DEVNULL, start_new_session=True)
        time.sleep(moments.uniform(0.1, 0.9))
        os.killpg(process.pid, signal.SIGKILL)
        if moments.random() < 0.5:  # and its workers, which otherwise finish what they are at
            subprocess.run(["pkill", "-9", "-f", "memesearch.thumbs.worker"], check=False)
        process.wait()
        for path in list(library.files()):
            if not path.endswith(".part"):
                assert decodes(library.output / path), path
    ended = library.run()
    assert ended.returncode == 0
    assert {
        str(library.thumbnail(n, k).relative_to(library.output)) for n in names for k in (GRID, "jpeg-800", "avif-lq")
    } == (library.files())
    with closing(sqlite3.connect(library.output / "thumbnails.db")) as db:
        assert db.execute("SELECT count(*), min(formats), max(formats) FROM made").fetchone() == (60, 19, 19)


def test_sigterm_ends_it_cleanly_and_it_goes_on_later(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=["avif-hq"])
    for seed in range(40):
        paint(library.pictures / f"{seed}.png", seed, (1200, 900))
    library.index([f"{seed}.png" for seed in range(40)])
    process = subprocess.Popen(library.command(), stdout=subprocess.DEVNULL)
    while len(library.files() if library.output.is_dir() else ()) < 3:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 0
    there = len([path for path in library.files() if not path.endswith(".part")])
    assert there < 40
    ended = library.run()
    assert f"{40 - there} thumbnails made, {there} were there" in ended.stdout


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 kB."""
    with small_disk(tmp_path / "disk", "512k") as disk:
        yield disk


def test_a_full_disk_ends_the_run_with_one_sentence_and_later_it_goes_on(tmp_path: Path, disk: Path) -> None:
    library = Library(tmp_path, disk / "thumbnails", formats=["jpeg-800"])
    names = [f"{seed}.png" for seed in range(60)]
    for seed, name in enumerate(names):
        paint(library.pictures / name, seed, (900, 700))
    library.index(names)
    ended = library.run()
    assert ended.returncode == 1
    assert "No space left on device" in ended.stderr or "disk is full" in ended.stderr
    assert "Traceback" not in ended.stderr
    made = library.files()
    assert 0 < len(made) < 60
    assert all(decodes(library.output / path) for path in made)
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)
    assert library.run().returncode == 0
    assert library.files() == {str(library.thumbnail(name, "jpeg-800").relative_to(library.output)) for name in names}


def test_configs_that_cannot_be_used_are_said_in_one_line(tmp_path: Path) -> None:
    library = Library(tmp_path)
    missing = library.run()
    assert missing.returncode == 2
    assert missing.stderr.count("\n") == 1
    assert "index the pictures with mse.py first" in missing.stderr
    Library(tmp_path, formats=["jpeg-1"])
    unknown = library.run()
    assert unknown.returncode == 2
    assert f"{library.config}: `formats`: there is no format 'jpeg-1'" in unknown.stderr
    Library(tmp_path, size=3)
    assert "unknown field `size`" in library.run().stderr
    assert library.run("gen").returncode == 2


def test_gen_formats_writes_formats_json(tmp_path: Path) -> None:
    library = Library(tmp_path)
    assert library.run("gen-formats").returncode == 0
    assert json.loads((library.output / "formats.json").read_text())["formats"]["jpeg-800"] == ["jpg", "image/jpeg"]


@pytest.mark.skipif(not (CORPUS / "odd").is_dir(), reason="the corpus is not here")
def test_the_odd_corpus_passes_through_without_a_crash(tmp_path: Path) -> None:
    library = Library(tmp_path, formats=[GRID, "jpeg-256k"])
    library.pictures.rmdir()
    library.pictures.symlink_to(CORPUS / "odd")
    names = list(scan(library.pictures).files)
    assert len(names) > 100
    library.index(names)
    ended = library.run()
    assert ended.returncode == 0, ended.stderr
    assert "cannot be made" in ended.stdout
    for path in library.files():
        assert decodes((library.output / path).resolve()), path
