"""Services that misbehave, a disk that is full, clients that leave: nothing is lost, and everything ends."""

import contextlib
import os
import resource
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from services import (
    OddService,
    Program,
    backend,
    draw,
    files_in_index,
    odd_service,
    on_disk,
    reload,
    wait_for,
    wait_until_idle,
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[OddService]:
    with odd_service(tmp_path) as program:
        yield program


@pytest.fixture
def library(tmp_path: Path, service: OddService) -> Iterator[tuple[Program, Path]]:
    """A running backend that has indexed six pictures."""
    pictures = tmp_path / "pictures"
    for seed in range(6):
        draw(pictures / f"{seed}.png", seed)
    program = backend(tmp_path, service, pictures).start()
    wait_until_idle(program)
    wait_for(lambda: program.get("")["n_total"] == 6)
    yield program, pictures
    assert program.stop() == 0
    assert "Traceback" not in program.config.with_suffix(".log").read_text()


def test_an_empty_library_that_was_started_before_its_service_takes_part_once_that_is_there(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with odd_service(tmp_path) as service:
        service.stop()
        program = backend(tmp_path, service, pictures).start()
        log = program.config.with_suffix(".log")
        wait_for(lambda: "in step with the disk" in log.read_text())
        service.start()
        wait_for(lambda: program.get("")["d_emb"])
        assert program.stop() == 0


def ask_for_a_reload_and_leave(program: Program, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        urllib.request.urlopen(urllib.request.Request(program.url + "reload_index", b""), timeout=seconds)


def problem(program: Program) -> str:
    return str(program.get("api/status")["indexing"]["message"] or "")


@pytest.mark.parametrize("status", [404, 413, 500])
def test_another_model_that_refuses_everything_costs_no_file_its_place(
    library: tuple[Program, Path], service: OddService, status: int
) -> None:
    program, pictures = library
    service.behave(model_id="second", status=status)
    wait_for(lambda: "not today" in problem(program))
    assert files_in_index(program) == on_disk(pictures)
    service.behave(model_id="second")
    wait_for(lambda: program.get("api/status")["embedding_service"]["model_id"] == "second")
    wait_for(lambda: not problem(program))
    assert files_in_index(program) == on_disk(pictures)
    assert program.get("api/failures")["total"] == 0


def test_a_picture_that_another_model_refuses_is_still_found_when_the_first_is_back(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    Image.new("RGB", (40, 40)).save(pictures / "black.png")
    reload(program)
    service.behave(model_id="second", refuses_black=True)
    reload(program)
    assert files_in_index(program) == on_disk(pictures) - {"black.png"}
    assert program.get("api/failures")["failures"][0]["file"] == "black.png"
    service.behave()
    reload(program)
    assert files_in_index(program) == on_disk(pictures)


def test_a_service_that_names_no_culprit_fails_only_the_picture_that_it_does_not_take(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    service.behave(model_id="second", pixels=False, refuses_black=True, names_culprit=False)
    Image.new("RGB", (40, 40)).save(pictures / "black.png")
    for seed in range(10, 25):
        draw(pictures / f"{seed}.png", seed)
    reload(program)
    assert files_in_index(program) == on_disk(pictures) - {"black.png"}
    assert [entry["file"] for entry in program.get("api/failures")["failures"]] == ["black.png"]


def test_vectors_of_another_size_than_announced_are_said_and_the_program_still_ends(
    tmp_path: Path, service: OddService
) -> None:
    for seed in range(20):
        draw(tmp_path / f"pictures/{seed}.png", seed)
    service.behave(says=64, sends=32)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_for(lambda: "says that its vectors have 64 numbers, but sends others" in problem(program))
    assert program.refusal("reload_index", b"")[0] == 503
    service.behave()
    wait_for(lambda: program.get("")["n_total"] == 20)
    assert program.stop() == 0


def test_two_models_behind_one_address_are_said_and_not_mixed(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    for seed in range(50, 80):
        draw(pictures / f"{seed}.png", seed)
    service.behave(alternates=True)
    wait_for(lambda: "are several behind one address" in problem(program) or program.refusal("reload_index", b""))
    assert len(files_in_index(program)) >= 6
    service.behave()
    wait_for(lambda: files_in_index(program) == on_disk(pictures))


def test_indexing_goes_on_when_the_client_that_asked_for_it_leaves(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    for seed in range(100, 140):
        draw(pictures / f"{seed}.png", seed)
    service.behave(seconds=0.3)
    ask_for_a_reload_and_leave(program, 0.5)
    wait_for(lambda: program.get("")["n_total"] == 46)
    assert files_in_index(program) == on_disk(pictures)


def test_a_reload_asked_for_while_another_runs_sees_files_that_came_after_its_scan(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    draw(pictures / "first.png", 100)
    service.behave(seconds=1.5)
    ask_for_a_reload_and_leave(program, 0.5)
    draw(pictures / "second.png", 101)
    service.behave()
    reload(program)
    assert files_in_index(program) == on_disk(pictures)


def test_a_reload_without_the_service_says_so_and_does_what_needs_none(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    service.stop(signal.SIGKILL)
    (pictures / "0.png").unlink()
    (pictures / "1.png").rename(pictures / "renamed.png")
    reload(program)
    assert files_in_index(program) == on_disk(pictures)
    draw(pictures / "new.png", 77)
    (pictures / "2.png").unlink()
    status, sentence = program.refusal("reload_index", b"")
    assert (status, "does not answer" in sentence) == (503, True)
    assert files_in_index(program) == on_disk(pictures) - {"new.png"}
    service.start()
    wait_for(lambda: files_in_index(program) == on_disk(pictures))


def test_a_service_that_hangs_is_answered_for_by_words(library: tuple[Program, Path], service: OddService) -> None:
    program, pictures = library
    (pictures / "3.png").rename(pictures / "grumpy cat.png")
    reload(program)
    assert service.process is not None
    service.process.send_signal(signal.SIGSTOP)
    found = program.get("api/search?q=grumpy")  # the request itself gives up after a minute
    assert [result["file"] for result in found["results"]] == ["grumpy cat.png"]
    assert found["total"] == 1
    assert "does not answer" in found["notices"][0]


def test_a_copy_is_found_after_a_change_of_model_when_the_other_file_went_meanwhile(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    shutil.copy(pictures / "0.png", pictures / "z.png")
    reload(program)
    program.stop()
    (pictures / "0.png").unlink()
    service.behave(model_id="second")
    program.start()
    wait_for(lambda: program.get("api/status")["embedding_service"]["model_id"] == "second")
    wait_until_idle(program)
    wait_for(lambda: files_in_index(program) == on_disk(pictures))


def test_a_full_disk_stops_the_indexing_not_the_searches_and_it_goes_on_when_there_is_room(
    library: tuple[Program, Path],
) -> None:
    program, pictures = library
    assert program.process is not None
    database = pictures.parent / "library.db"
    limit = max(path.stat().st_size for path in database.parent.glob("library.db*"))
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    for seed in range(100, 400):
        draw(pictures / f"{seed}.png", seed)
    status, sentence = program.refusal("reload_index", b"")
    assert (status, "the database cannot be written" in sentence) == (503, True)
    assert len(program.get("api/search?q=cat")["results"]) >= 6
    resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    wait_for(lambda: program.get("")["n_total"] == 306)
    assert files_in_index(program) == on_disk(pictures)


def test_it_ends_at_once_in_the_middle_of_indexing(library: tuple[Program, Path], service: OddService) -> None:
    program, pictures = library
    for turn in range(4):
        service.behave(seconds=0.4)
        for seed in range(30):
            draw(pictures / f"{turn}-{seed}.png", 1000 * turn + seed)
        ask_for_a_reload_and_leave(program, 0.3)
        time.sleep(0.2 * turn)
        assert program.stop() == 0
        program.start()
    service.behave()
    wait_for(lambda: files_in_index(program) == on_disk(pictures))


def test_a_file_from_the_far_future_is_indexed_like_any_other(library: tuple[Program, Path]) -> None:
    program, pictures = library
    draw(pictures / "far.png", 90)
    draw(pictures / "early.png", 91)
    os.utime(pictures / "far.png", (15_000_000_000, 15_000_000_000))  # in the year 2445
    os.utime(pictures / "early.png", (-5_000_000_000, -5_000_000_000))
    reload(program)
    assert files_in_index(program) == on_disk(pictures)


def test_too_few_open_files_for_a_moment_cost_no_picture(library: tuple[Program, Path], service: OddService) -> None:
    program, pictures = library
    assert program.process is not None
    pid = program.process.pid
    for seed in range(100, 140):
        draw(pictures / f"{seed}.png", seed)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    opened = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (opened + 4, limits[1]))
    with contextlib.suppress(urllib.error.HTTPError, OSError):
        program.post("reload_index", b"")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: program.post("reload_index", b""))
    assert files_in_index(program) == on_disk(pictures)
    assert program.get("api/failures")["total"] == 0


@pytest.mark.parametrize("odd", [{"interpolation": "area"}, {"batch": 0}, {"says": 0}])
def test_a_service_that_says_nonsense_of_itself_is_not_used_and_costs_no_picture(
    library: tuple[Program, Path], service: OddService, odd: dict[str, Any]
) -> None:
    program, pictures = library
    service.behave(**odd)
    draw(pictures / "new.png", 80)
    status, sentence = program.refusal("reload_index", b"")
    assert (status, "does not speak like an embedding service" in sentence) == (503, True)
    service.behave()
    wait_for(lambda: files_in_index(program) == on_disk(pictures))
    assert program.get("api/failures")["total"] == 0


def test_renamed_pictures_stay_searchable_when_the_service_fails_during_the_run(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    (pictures / "moved").mkdir()
    for seed in range(6):
        (pictures / f"{seed}.png").rename(pictures / f"moved/{seed}.png")
    for seed in range(20, 30):
        draw(pictures / f"{seed}.png", seed)
    service.behave(status=500)
    assert program.refusal("reload_index", b"")[0] == 503
    assert files_in_index(program) == {f"moved/{seed}.png" for seed in range(6)}


def test_a_picture_that_one_model_refuses_is_given_to_the_next(
    library: tuple[Program, Path], service: OddService
) -> None:
    program, pictures = library
    service.behave(refuses_black=True)
    Image.new("RGB", (40, 40)).save(pictures / "black.png")
    reload(program)
    assert program.get("api/failures")["total"] == 1
    service.behave(model_id="second")
    reload(program)
    assert files_in_index(program) == on_disk(pictures)
    assert program.get("api/failures")["total"] == 0


def test_after_an_outage_the_status_says_that_it_indexes(tmp_path: Path, service: OddService) -> None:
    for seed in range(40):
        draw(tmp_path / f"pictures/{seed}.png", seed)
    service.stop(signal.SIGKILL)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_for(lambda: "does not answer" in problem(program))
    service.behave(seconds=0.5)
    service.start()
    wait_for(lambda: program.get("api/status")["indexing"]["done"] > 0)
    status = program.get("api/status")
    assert (status["indexing"]["state"], status["indexing"]["message"]) == ("indexing", None)
    assert program.stop() == 0


def test_large_bodies_that_stall_do_not_fill_the_memory(library: tuple[Program, Path]) -> None:
    program, _ = library
    head = f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {60 * 2**20}\r\n\r\n".encode()
    connections = [socket.create_connection(("127.0.0.1", program.port)) for _ in range(12)]
    for connection in connections:
        with contextlib.suppress(OSError):  # refused in the middle
            connection.sendall(head + b" " * 55 * 2**20)
    assert program.process is not None
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    assert int(status.split("VmRSS:")[1].split()[0]) < 900_000  # kB; all of them would be 660 MB more
    for connection in connections:
        connection.close()
    assert len(program.get("api/search")["results"]) == 6
