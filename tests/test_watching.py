"""Changes of the folder that nobody tells the backend about."""

import asyncio
import logging
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from launched import PROJECT
from services import Program, backend, draw, files_in_index, on_disk, reload, running, wait_for, wait_until_idle

from memesearch.errors import Unavailable
from memesearch.library import watching
from memesearch.library.library import Summary
from memesearch.library.scan import CACHE_TAG, CACHE_TAG_NAME
from memesearch.library.watching import FolderWatch


@pytest.fixture
def library(tmp_path: Path, service: Program) -> Iterator[tuple[Program, Path]]:
    """A running backend that watches a folder of four pictures."""
    pictures = tmp_path / "pictures"
    for seed in range(4):
        draw(pictures / f"a/{seed}.png", seed)
    with running(backend(tmp_path, service, pictures, watch=True)) as program:
        wait_until_idle(program)
        yield program, pictures


def test_new_changed_renamed_and_deleted_files_show_by_themselves(library: tuple[Program, Path]) -> None:
    program, pictures = library
    draw(pictures / "a/new.png", 10)
    draw(pictures / "b/c/in a new folder.png", 11)
    (pictures / "a/0.png").unlink()
    wait_for(lambda: files_in_index(program) == on_disk(pictures))
    (pictures / "b").rename(pictures / "v1.2")
    (pictures / "a/1.png").rename(pictures / "a/one.png")
    wait_for(lambda: files_in_index(program) == on_disk(pictures))
    shutil.rmtree(pictures / "v1.2")
    wait_for(lambda: files_in_index(program) == on_disk(pictures))


def test_a_file_that_is_still_being_written_is_found_when_it_is_complete(library: tuple[Program, Path]) -> None:
    program, pictures = library
    draw(pictures.parent / "whole.png", 12)
    whole = (pictures.parent / "whole.png").read_bytes()
    with (pictures / "slow.png").open("wb") as file:
        file.write(whole[: len(whole) // 2])
        file.flush()
        wait_for(lambda: program.get("api/status")["failures"] == 1)
        file.write(whole[len(whole) // 2 :])
    wait_for(lambda: "slow.png" in files_in_index(program))
    assert program.get("api/status")["failures"] == 0


def test_a_folder_without_pictures_is_taken_for_a_disk_that_is_away_until_a_reload_is_asked_for(
    library: tuple[Program, Path],
) -> None:
    program, pictures = library
    before = files_in_index(program)
    (pictures / "a").rename(pictures.parent / "away")
    wait_for(lambda: "has lost all its pictures" in (program.get("api/status")["indexing"]["message"] or ""))
    assert files_in_index(program) == before
    assert program.stop() == 0
    program.start()
    wait_for(lambda: "has lost all its pictures" in (program.get("api/status")["indexing"]["message"] or ""))
    assert files_in_index(program) == before
    reload(program)
    assert files_in_index(program) == set()
    (pictures.parent / "away").rename(pictures / "a")
    wait_for(lambda: files_in_index(program) == before)


class Looks:
    """Counts scans; each says that `news` changes were found, then none."""

    def __init__(self) -> None:
        self.count, self.news = 0, 0
        self.error: Exception | None = None

    async def look(self) -> Summary:
        self.count += 1
        if self.error:
            raise self.error
        found, self.news = self.news, 0
        return Summary(0, found, 0, 0, 0.0)

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.count < count:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def watched(root: Path) -> AsyncIterator[Looks]:
    """A folder that is watched, and was looked at for the first time."""
    looks = Looks()
    task = asyncio.create_task(FolderWatch(root, looks.look).run())
    await looks.reach(1)
    yield looks
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LEAST_REST_SECONDS", 0.05)
    monkeypatch.setattr(watching, "QUIET_MS", 50)


async def test_a_scan_that_found_something_is_followed_by_another(tmp_path: Path) -> None:
    draw(tmp_path / "0.png", 0)
    async with watched(tmp_path) as looks:
        looks.news = 3
        draw(tmp_path / "1.png", 1)
        await looks.reach(3)
        await asyncio.sleep(0.5)
        assert looks.count == 3


async def test_a_scan_that_fails_is_not_repeated_before_the_next_change(tmp_path: Path) -> None:
    draw(tmp_path / "0.png", 0)
    async with watched(tmp_path) as looks:
        looks.error = Unavailable("the service is away")
        draw(tmp_path / "1.png", 1)
        await looks.reach(2)
        await asyncio.sleep(0.5)
        assert looks.count == 2
        draw(tmp_path / "2.png", 2)
        await looks.reach(3)


def text(folder: Path) -> None:
    (folder / "notes.txt").write_text("nothing to see")


def hidden(folder: Path) -> None:
    draw(folder / ".hidden/1.png", 1)


def cached(folder: Path) -> None:
    draw(folder / "cache/small/1.png", 1)


@pytest.mark.parametrize("change", [text, hidden, cached])
async def test_what_is_no_part_of_the_library_causes_no_scan(tmp_path: Path, change: Callable[[Path], None]) -> None:
    draw(tmp_path / "0.png", 0)
    (tmp_path / "cache/small").mkdir(parents=True)
    (tmp_path / "cache" / CACHE_TAG_NAME).write_text(CACHE_TAG)
    (tmp_path / ".hidden").mkdir()
    async with watched(tmp_path) as looks:
        change(tmp_path)
        await asyncio.sleep(2.5)
        assert looks.count == 1
        draw(tmp_path / "1.png", 1)
        await looks.reach(2)


async def test_a_folder_that_cannot_be_watched_is_told_of_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watching, "BEGUN_ANEW_SECONDS", 0.3)
    caplog.set_level(logging.WARNING)
    pictures = tmp_path / "not there yet"
    async with watched(pictures) as looks:
        await looks.reach(3)
        draw(pictures / "0.png", 0)
        before = looks.count
        monkeypatch.setattr(watching, "BEGUN_ANEW_SECONDS", 60)
        await looks.reach(before + 1)
        before = looks.count
        draw(pictures / "1.png", 1)
        await looks.reach(before + 1)
    told = [record.message for record in caplog.records if "cannot be watched" in record.message]
    assert len(told) == 1
    assert str(pictures) in told[0]


def test_too_many_folders_are_told_of_with_the_way_out(tmp_path: Path, service: Program) -> None:
    for number in range(12):
        (tmp_path / f"pictures/{number}").mkdir(parents=True)
    draw(tmp_path / "pictures/0.png", 0)
    program = backend(tmp_path, service, tmp_path / "pictures", watch=True)
    lower = "echo 8 > /proc/sys/user/max_inotify_watches"
    if subprocess.run(["unshare", "-U", "-r", "sh", "-c", lower], capture_output=True).returncode:
        pytest.skip("a user namespace with a limit of its own cannot be made here")
    command = [sys.executable, str(PROJECT / "mse.py"), str(program.config)]
    with program.config.with_suffix(".log").open("ab") as log:
        program.process = subprocess.Popen(
            ["unshare", "-U", "-r", "sh", "-c", f'{lower} && exec "$@"', "sh", *command], stderr=log, stdout=log
        )
    wait_for(lambda: "raise fs.inotify.max_user_watches" in program.config.with_suffix(".log").read_text())
    wait_for(lambda: files_in_index(program) == {"0.png"})
    assert program.stop() == 0
