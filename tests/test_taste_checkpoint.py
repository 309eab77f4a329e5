"""Checkpoints: whole or not there, and never used with vectors of another model."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from memesearch.errors import ConfigError
from memesearch.taste.checkpoint import load, new_model, newest, save
from memesearch.taste.labels import labels

VECTORS = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
SAID = labels([(n, n + 1, n % 3 - 1, True) for n in range(20)], [(n, n % 2 == 0) for n in range(10)])


def stored(models: Path, kind: str = "ridge") -> Path:
    model = new_model(kind)
    model.fit(VECTORS, SAID, np.arange(50))
    return save(models, model, "clip-1", {"auroc": 0.8}, {"kind": kind}, log='{"a": 1}\n')


@pytest.mark.parametrize("kind", ["ridge", "ensemble"])
def test_what_is_saved_comes_back_and_is_the_newest(tmp_path: Path, kind: str) -> None:
    model = new_model(kind)
    model.fit(VECTORS, SAID, np.arange(50))
    folder = save(tmp_path / "models", model, "clip-1", {"auroc": 0.8}, {"kind": kind})
    assert newest(tmp_path / "models") == folder
    again = load(folder)
    assert (again.name, again.model_id, again.metrics, again.settings) == (
        folder.name, "clip-1", {"auroc": 0.8}, {"kind": kind},
    )  # fmt: skip
    np.testing.assert_allclose(again.model.score(VECTORS), model.score(VECTORS), rtol=1e-5, atol=1e-6)
    direction = json.loads((folder / "direction.json").read_text())
    assert np.linalg.norm(direction) == pytest.approx(1, abs=1e-4)
    assert {path.name for path in folder.iterdir()} == {"weights.npz", "model.json", "metrics.json", "direction.json"}


def test_two_models_of_one_second_lie_side_by_side(tmp_path: Path) -> None:
    folders = [stored(tmp_path) for _ in range(5)]
    assert len(set(folders)) == 5
    assert newest(tmp_path) == folders[-1]
    assert {path.name for path in tmp_path.iterdir()} == {"current", *(folder.name for folder in folders)}


def test_trainings_that_end_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    model = new_model("ridge")
    model.fit(VECTORS, SAID, np.arange(50))
    with ThreadPoolExecutor(8) as pool:
        saved = [pool.submit(save, tmp_path, model, "clip-1", {}, {}) for _ in range(48)]
        while not all(one.done() for one in saved):
            assert not (tmp_path / "current").exists() or newest(tmp_path).is_dir()
    folders = {one.result() for one in saved}
    assert len(folders) == 48 and newest(tmp_path) in folders
    assert {path.name for path in tmp_path.iterdir()} == {"current", *(folder.name for folder in folders)}


def test_vectors_of_another_model_are_refused_by_name(tmp_path: Path) -> None:
    checkpoint = load(stored(tmp_path))
    checkpoint.require("clip-1")
    with pytest.raises(ConfigError, match=r"was trained on vectors of clip-1, but these are of clip-2; train again"):
        checkpoint.require("clip-2")


def test_nothing_trained_yet_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing was trained yet; run train.py"):
        newest(tmp_path / "models")


@pytest.mark.parametrize("name", ["gone", "../elsewhere", "", "/etc", "x" * 5000])
def test_a_pointer_to_nowhere_is_told(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    models = tmp_path / "models"
    models.mkdir()
    (models / "current").write_text(name)
    with pytest.raises(ConfigError, match="which is not there"):
        newest(models)


@pytest.mark.parametrize("file", ["weights.npz", "model.json", "metrics.json"])
@pytest.mark.parametrize("part", [0, 0.3, 0.9])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, file: str, part: float) -> None:
    path = stored(tmp_path) / file
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ConfigError, match=f"{file}: is damaged") as told:
        load(path.parent)
    assert "\n" not in str(told.value)


def test_weights_with_flipped_bytes_are_told(tmp_path: Path) -> None:
    path = stored(tmp_path) / "weights.npz"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 255
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match="is damaged"):
        load(path.parent)


def test_a_folder_that_is_none_and_one_of_another_program_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is its folder a checkpoint"):
        load(tmp_path / "nowhere")
    (tmp_path / "model.json").write_text('{"layers": 3}')
    with pytest.raises(ConfigError, match="is no checkpoint of a taste model"):
        load(tmp_path)
    (tmp_path / "model.json").write_text("[]")
    with pytest.raises(ConfigError, match="holds no JSON object"):
        load(tmp_path)


@pytest.mark.parametrize("change", [{"format": 2}, {"kind": "oracle"}])
def test_a_newer_version_s_checkpoint_is_told(tmp_path: Path, change: dict[str, object]) -> None:
    path = stored(tmp_path) / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ConfigError, match="was made by a newer version"):
        load(path.parent)


@pytest.mark.parametrize("harm", ["not finite", "text", "another dimension"])
def test_weights_that_cannot_score_are_told(tmp_path: Path, harm: str) -> None:
    path = stored(tmp_path) / "weights.npz"
    with np.load(path) as whole:
        arrays = {name: whole[name] for name in whole.files}
    changed = {
        "not finite": np.full_like(arrays["mean"], np.nan),
        "text": np.array(["a"] * len(arrays["mean"])),
        "another dimension": arrays["mean"][:-1],
    }
    np.savez(path, **{**arrays, "mean": changed[harm]})
    with pytest.raises(ConfigError, match="is damaged"):
        load(path.parent)


def test_settings_that_are_no_object_are_told(tmp_path: Path) -> None:
    path = stored(tmp_path) / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "settings": [1]}))
    with pytest.raises(ConfigError, match="`settings` is no object"):
        load(path.parent)


class Harm:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickles_in_the_weights_are_never_run(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    np.savez(folder / "weights.npz", centre=np.array([Harm(tmp_path / "harm")], dtype=object))
    with pytest.raises(ConfigError, match="is damaged"):
        load(folder)
    assert not (tmp_path / "harm").exists()


def test_arrays_of_another_kind_are_told(tmp_path: Path) -> None:
    folder, other = stored(tmp_path), stored(tmp_path, "ensemble")
    (folder / "weights.npz").write_bytes((other / "weights.npz").read_bytes())
    with pytest.raises(ConfigError, match="is damaged"):
        load(folder)


def test_a_models_folder_that_cannot_be_written_is_told_and_the_current_model_stays(tmp_path: Path) -> None:
    folder = stored(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be stored"):
        stored(tmp_path / "file")
    assert newest(tmp_path) == folder


def test_what_a_cut_off_save_left_is_swept_after_a_while(tmp_path: Path) -> None:
    for name, age in (("old", 7200), ("young", 0)):
        (tmp_path / f".new-{name}").mkdir()
        os.utime(tmp_path / f".new-{name}", (time.time() - age,) * 2)
    stored(tmp_path)
    assert [path.name for path in tmp_path.glob(".new-*")] == [".new-young"]
