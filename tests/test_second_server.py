"""One rater and one queue at a time on a database, whatever their configurations; side by side they may work."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from launched import PROJECT, free_port
from queued import Desk
from rater_library import rater, rater_config, unit_vectors
from services import Program, running


def refused(program: Program) -> str:
    """The one line with which it does not start."""
    command = [sys.executable, str(PROJECT / program.script), str(program.config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, len(ended.stderr.splitlines())) == (2, "", 1), ended.stderr
    return ended.stderr


@pytest.mark.parametrize("kind", ["rater", "queue"])
@pytest.mark.parametrize("by_link", [False, True])
def test_a_second_server_on_a_database_is_refused_in_one_line_until_the_first_has_ended(
    tmp_path: Path, kind: str, by_link: bool
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    database = two / "link.db" if by_link else one / "rater.db"
    first: Program
    second: Program
    if kind == "queue":
        first, second = Desk(one), Desk(two, database=str(database))
    else:
        first, port = rater(one, unit_vectors(12)), free_port()
        told = {"database": str(database), "mse_config": str(one / "rater_mse_config.json"), "rater_port": port}
        second = Program(first.script, rater_config(two, **told), port)
    if by_link:
        database.symlink_to(one / "rater.db")
    with running(first):
        assert first.process is not None
        said = refused(second)
        assert f"{second.config}: {database}: has a {kind} server already (process {first.process.pid}, since " in said
        assert "stop that, or choose another `database`" in said
        first.stop(signal.SIGKILL)
        with running(second):
            assert second.process is not None
            assert f"(process {second.process.pid}, since " in refused(first)
    with running(first):
        pass


def test_the_rater_and_the_queue_work_on_one_database_at_the_same_time(tmp_path: Path) -> None:
    asking = rater(tmp_path, unit_vectors(12))
    (tmp_path / "queue").mkdir()
    deciding = Desk(tmp_path / "queue", database=str(tmp_path / "rater.db"))
    with running(asking), running(deciding):
        pair = asking.get("api/pair")["pairs"][0]
        assert asking.post("api/answer", {"token": pair["token"], "grade": 1})["stored"] is True
        assert deciding.get("api/status")["left"] == 0
