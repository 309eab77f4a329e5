"""The demo folder: sample library, bundled model, and the licences of its drawings."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).resolve().parent.parent / "demo"
MODEL = DEMO / "model"


@pytest.fixture(autouse=True)
def demo_scripts_and_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests import demo's scripts, and keep every hub client offline."""
    monkeypatch.syspath_prepend(str(DEMO))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def make_library(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the generator as a user would."""
    command = [sys.executable, str(DEMO / "sample_library.py"), str(folder), *options]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file, by relative path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_sample_library_is_complete_and_the_same_every_time(tmp_path: Path) -> None:
    labels_file = tmp_path / "labels.json"
    assert make_library(tmp_path / "a", "--labels", str(labels_file)).returncode == 0
    assert make_library(tmp_path / "b").returncode == 0
    first = digests(tmp_path / "a")
    assert first == digests(tmp_path / "b")
    pictures = {name for name in first if not name.startswith(".")}
    assert len(pictures) == 500
    assert set(json.loads(labels_file.read_text())) == pictures
    assert {Path(name).suffix for name in pictures} == {".jpg", ".png", ".webp", ".gif"}
    assert sum(path.stat().st_size for path in (tmp_path / "a").rglob("*.*")) < 40_000_000


def test_sample_library_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    result = make_library(tmp_path)
    assert result.returncode == 1
    assert "is not a sample library" in result.stderr
    assert (tmp_path / "mine.txt").read_text() == "keep me"


def test_every_query_names_things_that_are_drawn() -> None:
    from vocabulary import load_things

    names = {thing.name for thing in load_things()}
    queries = json.loads((DEMO / "queries.json").read_text())
    assert len(queries) == 20
    assert all(set(query["any_of"]) <= names for query in queries)


def test_weights_are_at_most_25_megabytes() -> None:
    assert (MODEL / "open_clip_model.safetensors").stat().st_size <= 25_000_000


def test_model_loads_offline_with_its_own_tokenizer_and_preprocessing() -> None:
    import open_clip
    from data import IMAGE_SIZE
    from model_folder import load_folder
    from PIL import Image

    model, preprocess = load_folder(MODEL)
    tokens = open_clip.get_tokenizer(f"local-dir:{MODEL}")(["a Cat", "zxqv ☃ 猫", "", "a " * 99])
    picture = preprocess(Image.new("RGB", (300, 200))).unsqueeze(0)
    assert picture.shape == (1, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert model.encode_image(picture).shape == (1, 256)
    assert model.encode_text(tokens).isfinite().all()


def test_recall_is_at_least_half_of_what_was_measured() -> None:
    import torch
    from data import measured_compositions, normalise
    from evaluate import embed_texts, recall
    from model_folder import load_folder

    measured = json.loads((MODEL / "metrics.json").read_text())
    model, _ = load_folder(MODEL)
    pictures, texts = measured_compositions(seed=99, count=100)
    with torch.inference_mode():
        found = model.encode_image(normalise(pictures), normalize=True)
    reached = recall(embed_texts(model, MODEL, texts), found, 10)
    assert reached >= measured["new_compositions"]["recall@10"] / 2


def test_licence_file_names_each_sheet_and_the_font() -> None:
    licences = (DEMO / "drawings" / "LICENSES.md").read_text()
    for vendor in json.loads((DEMO / "drawings" / "things.json").read_text())["vendors"]:
        assert f"`{vendor}.webp`" in licences
    assert "Anton-Regular.ttf" in licences
