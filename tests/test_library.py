"""What is on disk, in the database and in the index are equal after one reload, whatever happened."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import open_clip
import pytest
import torch
from launched import PROJECT
from safetensors.torch import save_file
from services import Program, backend, clip_server, draw, files_in_index, on_disk, reload, wait_for, wait_until_idle

IMAGES = 'modelserver_total_items_total{modality="image"'


@pytest.fixture
def library(tmp_path: Path, service: Program) -> Iterator[tuple[Program, Path]]:
    """A running backend over a folder of six pictures."""
    pictures = tmp_path / "pictures"
    for seed in range(6):
        draw(pictures / ("b" if seed % 2 else "a") / f"{seed}.png", seed)
    program = backend(tmp_path, service, pictures).start()
    wait_until_idle(program)
    yield program, pictures
    program.stop()


def test_the_first_run_finds_every_picture(library: tuple[Program, Path]) -> None:
    program, pictures = library
    assert files_in_index(program) == on_disk(pictures)
    assert program.get("")["n_total"] == 6


def test_added_edited_and_deleted_files_show_after_one_reload(library: tuple[Program, Path]) -> None:
    program, pictures = library
    before = program.post("", {"terms": [{"text": "circle"}]})["matches"]
    draw(pictures / "c/new.png", 77)
    draw(pictures / "a/0.png", 78)
    (pictures / "b/1.png").unlink()
    reload(program)
    assert files_in_index(program) == on_disk(pictures)
    after = {match[1]: match[0] for match in program.post("", {"terms": [{"text": "circle"}]})["matches"]}
    old = {match[1]: match[0] for match in before}
    assert after["a/0.png"] != old["a/0.png"]
    assert after["a/2.png"] == old["a/2.png"]


def test_renamed_and_copied_files_and_a_renamed_folder_cost_no_embedding(
    library: tuple[Program, Path], service: Program
) -> None:
    program, pictures = library
    embedded = service.metric(IMAGES)
    (pictures / "a/0.png").rename(pictures / "renamed.png")
    shutil.copy(pictures / "a/2.png", pictures / "copy.png")
    (pictures / "b").rename(pictures / "moved")
    reload(program)
    assert files_in_index(program) == on_disk(pictures)
    assert service.metric(IMAGES) == embedded


def test_a_deleted_picture_that_comes_back_costs_no_embedding(library: tuple[Program, Path], service: Program) -> None:
    program, pictures = library
    (pictures / "a/0.png").rename(pictures.parent / "away.png")
    reload(program)
    embedded = service.metric(IMAGES)
    (pictures.parent / "away.png").rename(pictures / "a/0.png")
    reload(program)
    assert files_in_index(program) == on_disk(pictures)
    assert service.metric(IMAGES) == embedded


def test_bad_files_are_recorded_with_a_reason_and_the_others_are_indexed(library: tuple[Program, Path]) -> None:
    program, pictures = library
    whole = (pictures / "a/0.png").read_bytes()
    (pictures / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (pictures / "words.jpg").write_text("not a picture")
    (pictures / "empty.gif").write_bytes(b"")
    (pictures / "out.png").symlink_to("/etc/hostname")
    (pictures / "loop").symlink_to(pictures)
    os.mkfifo(pictures / "pipe.png")
    (pictures / os.fsdecode(b"\xff\xfe.png")).write_bytes(whole)
    odd = ["line\nbreak.png", 'quo"te.png', "<script>alert(1)<.png", "sp ace & 100%#?.png", "ünï🙂.png"]
    for seed, name in enumerate(odd):
        draw(pictures / name, 200 + seed)
    reload(program)
    assert set(odd) <= files_in_index(program)
    reasons = {entry["file"]: entry["reason"] for entry in program.get("api/failures")["failures"]}
    assert set(reasons) == {"truncated.png", "words.jpg", "empty.gif", "out.png", "\\xff\\xfe.png"}
    assert "leads out of the library" in reasons["out.png"]
    assert "not valid UTF-8" in reasons["\\xff\\xfe.png"]
    draw(pictures / "words.jpg", 300)
    reload(program)
    assert "words.jpg" in files_in_index(program)
    assert program.get("api/failures")["total"] == 4


def test_a_killed_backend_goes_on_where_it_stopped(tmp_path: Path, service: Program) -> None:
    pictures = tmp_path / "pictures"
    for seed in range(120):
        draw(pictures / f"{seed}.png", seed, (400, 300))
    embedded = service.metric(IMAGES)
    program = backend(tmp_path, service, pictures)
    for pause in (0.0, 0.2, 0.4):
        program.start()
        time.sleep(pause)
        program.stop(signal.SIGKILL)
    program.start()
    wait_until_idle(program)
    assert files_in_index(program) == on_disk(pictures)
    in_flight = 3 * 2 * 8  # kills x batches x max_batch_size
    assert service.metric(IMAGES) - embedded <= 120 + in_flight
    assert program.stop() == 0


def test_indexing_waits_for_a_service_that_is_down_or_dies_and_loses_nothing(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for seed in range(60):
        draw(pictures / f"{seed}.png", seed, (800, 600))
    flaky = clip_server(tmp_path)
    program = backend(tmp_path, flaky, pictures).start()
    wait_for(lambda: program.get("api/status")["indexing"]["state"] == "waiting")
    assert program.refusal("", {"terms": [{"text": "cat"}]})[0] == 503
    flaky.start()
    wait_for(lambda: program.get("")["n_total"] > 0)
    flaky.stop(signal.SIGKILL)
    flaky.start()
    wait_for(lambda: program.get("")["n_total"] == 60)
    assert files_in_index(program) == on_disk(pictures)
    assert program.get("api/failures")["total"] == 0
    flaky.stop()
    found = program.get("api/search?q=cat")
    assert "does not answer (Connection refused)" in found["notices"][0]
    program.stop()


def random_model(folder: Path) -> str:
    """An OpenCLIP folder with the bundled model's shape but a smaller embedding and random weights."""
    shutil.copytree(PROJECT / "demo" / "model", folder)
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["embed_dim"] = 64
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    torch.manual_seed(1)
    name = "smaller"
    (folder.parent / f"{name}.json").write_text(json.dumps(config["model_cfg"]))
    open_clip.add_model_config(folder.parent / f"{name}.json")
    model = open_clip.create_model(name, pretrained=None, load_weights=False)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


@pytest.mark.filterwarnings("ignore")
def test_another_model_of_another_size_replaces_the_vectors_without_mixing(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    for seed in range(12):
        draw(pictures / f"{seed}.png", seed)
    first = clip_server(tmp_path).start()
    program = backend(tmp_path, first, pictures).start()
    wait_for(lambda: program.get("")["n_total"] == 12)
    old = program.get("api/status")["embedding_service"]["model_id"]
    first.stop()
    second = clip_server(tmp_path, random_model(tmp_path / "smaller-model"), first.port).start()
    reload(program)
    assert program.get("")["d_emb"] == 64
    assert program.get("api/status")["embedding_service"]["model_id"] != old
    assert files_in_index(program) == on_disk(pictures)
    database = sqlite3.connect(tmp_path / "library.db")
    sizes = set(database.execute("SELECT model, length(vector) FROM vectors"))
    database.close()
    assert sizes == {(1, 512), (2, 128)}
    program.stop()
    second.stop()


def test_no_run_server_indexes_once_lists_failures_and_ends(tmp_path: Path, service: Program) -> None:
    pictures = tmp_path / "pictures"
    draw(pictures / "good.png", 1)
    (pictures / "bad.png").write_text("no")
    program = backend(tmp_path, service, pictures, no_run_server=True)
    ended = subprocess.run(
        [sys.executable, str(PROJECT / "mse.py"), str(program.config)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0
    assert "2 files looked at, 2 new or changed, 0 gone, 1 could not be read" in ended.stdout
    assert "'bad.png': is not a picture" in ended.stdout


def old_database(folder: Path, service: Program, same_model: bool) -> dict[str, bytes]:
    """Twenty pictures and the first implementation's database of them; returns its vectors."""
    names = [f"{seed}.png" for seed in range(20)]
    for seed, name in enumerate(names):
        draw(folder / "pictures" / name, seed)
    body = msgspec.msgpack.encode({"images": [(folder / "pictures" / name).read_bytes() for name in names]})
    with urllib.request.urlopen(
        urllib.request.Request(service.url, body, {"Content-Type": "application/msgpack"}), timeout=60
    ) as answer:
        vectors = [np.frombuffer(raw, "<f2") for raw in msgspec.msgpack.decode(answer.read())]
    if not same_model:
        vectors = [np.roll(vector, 1) for vector in vectors]
    vectors = [
        (vector * np.float16(0.5)).astype("<f2") for vector in vectors
    ]  # some old databases are not of unit norm
    with closing(sqlite3.connect(folder / "library.db")) as db:
        db.execute("CREATE TABLE files (filename TEXT PRIMARY KEY, modtime REAL, embedding_vector BLOB)")
        for name, vector in zip(names, vectors, strict=True):
            modtime = (folder / "pictures" / name).stat().st_mtime
            db.execute("INSERT INTO files VALUES (?, ?, ?)", (name, modtime, vector.tobytes()))
        db.commit()
    return {name: vector.tobytes() for name, vector in zip(names, vectors, strict=True)}


def test_an_old_database_keeps_its_vectors_and_a_copy_of_itself(tmp_path: Path, service: Program) -> None:
    old_database(tmp_path, service, same_model=True)
    embedded = service.metric(IMAGES)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_for(lambda: program.get("")["n_total"] == 20)
    assert service.metric(IMAGES) - embedded == 8  # the sample that shows whether it is the same model
    for name in ("0.png", "19.png"):
        best = program.post("", {"terms": [{"file": name}], "k": 1})["matches"][0]
        assert best[1] == name
        assert abs(best[0] - 1) < 0.01
    assert len(list(tmp_path.glob("library.db.before-upgrade-0-*"))) == 1
    program.stop()
    with closing(sqlite3.connect(tmp_path / "library.db")) as db:
        assert db.execute("SELECT count(*) FROM old_vectors").fetchone() == (0,)


def test_an_old_databases_vectors_of_another_model_of_the_same_size_are_not_used(
    tmp_path: Path, service: Program
) -> None:
    old = old_database(tmp_path, service, same_model=False)
    program = backend(tmp_path, service, tmp_path / "pictures").start()
    wait_for(lambda: program.get("")["n_total"] == 20)
    program.stop()
    with closing(sqlite3.connect(tmp_path / "library.db")) as db:
        stored = {row[0] for row in db.execute("SELECT vector FROM vectors")}
    assert len(stored) == 20
    assert stored.isdisjoint(old.values())
    assert "are another model's" in program.config.with_suffix(".log").read_text()
