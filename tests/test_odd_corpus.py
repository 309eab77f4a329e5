"""Some hundred difficult pictures (damaged, huge, animated, oddly encoded): each is searchable or has a reason.

They are third-party files outside the repository: $MSE_CORPUS, default ../shared/corpus; skipped where absent.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from services import Program, backend, clip_server, files_in_index, wait_for

from memesearch.library.scan import EXTENSIONS

CORPUS = Path(os.environ.get("MSE_CORPUS", Path(__file__).resolve().parents[2] / "shared" / "corpus"))
ODD = CORPUS / "odd"
MOST_MEMORY = 400  # MB
pytestmark = pytest.mark.skipif(not ODD.is_dir(), reason=f"there is no corpus at {CORPUS}")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Program, Program]]:
    """The backend that has indexed everything, and its service."""
    folder = tmp_path_factory.mktemp("odd")
    service = clip_server(folder).start()
    program = backend(folder, service, ODD, decode_workers=2).start()
    wait_for(lambda: finished(program), 540)
    yield program, service
    assert program.stop() == 0
    assert service.stop() == 0


def finished(program: Program) -> bool:
    status: dict[str, Any] = program.get("api/status")
    return bool(status["files"] and status["indexing"]["state"] == "idle")


def pictures() -> set[str]:
    """Every file that claims to be a picture and that is not hidden."""
    relative = {path.relative_to(ODD) for path in ODD.rglob("*") if path.suffix.lower() in EXTENSIONS}
    return {str(path) for path in relative if not any(part.startswith(".") for part in path.parts)}


def reasons(program: Program) -> dict[str, str]:
    return {entry["file"]: entry["reason"] for entry in program.get("api/failures?limit=1000")["failures"]}


def test_each_picture_is_searchable_or_has_a_reason_and_never_both(programs: tuple[Program, Program]) -> None:
    searchable, failed = files_in_index(programs[0]), reasons(programs[0])
    assert searchable | set(failed) == pictures()
    assert not searchable & set(failed)
    assert all(reason.strip() and "\n" not in reason for reason in failed.values())


def test_what_plain_pillow_decodes_is_searchable(programs: tuple[Program, Program]) -> None:
    notes = json.loads((ODD / "notes.json").read_text("utf-8"))
    decodable = {note["file"] for note in notes if note.get("pillow_decode") == "ok"}
    assert decodable
    assert (decodable & pictures()) - files_in_index(programs[0]) == set()


def test_pictures_that_claim_too_many_pixels_fail_for_that_reason(programs: tuple[Program, Program]) -> None:
    bombs = {path: reason for path, reason in reasons(programs[0]).items() if path.startswith("bombs/")}
    assert any("more than the limit" in reason for reason in bombs.values())


def test_both_programs_live_and_the_backend_stayed_small(programs: tuple[Program, Program]) -> None:
    for program in programs:
        assert program.process is not None
        assert program.process.poll() is None
        program.get("health")
    assert megabytes(programs[0]) < MOST_MEMORY


def megabytes(program: Program) -> float:
    """The most resident memory that a program has had, without its workers."""
    assert program.process is not None
    lines = Path(f"/proc/{program.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
