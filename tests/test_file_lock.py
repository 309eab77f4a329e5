"""The lock that keeps a second process away: it tells who has it, and ends with the process that had it."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from memesearch.file_lock import FileLock, Taken

HOLDER = """
import pathlib, sys
from memesearch.file_lock import FileLock
lock = FileLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_told_who_has_it_until_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    for _ in range(2):
        with pytest.raises(Taken, match=rf"^process {holder.pid}, since \d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d$"):
            FileLock(path)
    holder.kill()
    holder.communicate()
    FileLock(path).close()


def test_a_holder_that_wrote_nothing_is_another_process(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Taken, match=r"^another process$"):
            FileLock(tmp_path / "lock")


def test_it_can_be_had_again_once_it_is_closed_and_keeps_its_file(tmp_path: Path) -> None:
    for _ in range(2):
        with FileLock(tmp_path / "lock"), pytest.raises(Taken):
            FileLock(tmp_path / "lock")
        assert (tmp_path / "lock").exists()


def test_programs_that_the_holder_has_started_do_not_hold_it(tmp_path: Path) -> None:
    with FileLock(tmp_path / "lock"):
        child = subprocess.Popen(["sleep", "600"], close_fds=False)
    FileLock(tmp_path / "lock").close()
    child.kill()
    child.wait()


def test_a_lock_that_cannot_be_made_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        FileLock(tmp_path / "file" / "lock")
