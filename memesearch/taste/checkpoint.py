"""Trained models on disk: a folder each, and the name of the newest in `current`.

`models/20260102-030405-ridge/` holds weights.npz, model.json (kind, settings, the model that the vectors come from),
metrics.json and direction.json (the query vector along which scores rise). A folder appears whole or not at all.
"""

import contextlib
import json
import os
import shutil
import tempfile
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memesearch.durable import synchronise, write_whole
from memesearch.errors import ConfigError
from memesearch.taste.model import TasteModel
from memesearch.taste.network import Network
from memesearch.taste.ridge import Ridge

FORMAT = 1
SWEPT_SECONDS = 3600
DAMAGE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error)
LONGEST_NAME = 60  # letters, more than any name of ours has
KINDS: dict[str, type[TasteModel]] = {"ridge": Ridge, "ensemble": Network}


@dataclass(frozen=True)
class Checkpoint:
    """`name` of the folder; `model_id` of the model whose vectors `model` was fitted to."""

    name: str
    model: TasteModel
    model_id: str
    metrics: dict[str, Any]
    settings: dict[str, Any]

    def require(self, model_id: str) -> None:
        """Raises ConfigError unless vectors of `model_id` are those that this model knows."""
        if model_id != self.model_id:
            raise ConfigError(
                f"the taste model {self.name} was trained on vectors of {self.model_id}, but these are of {model_id};"
                " train again (train.py)"
            )


def new_model(kind: str) -> TasteModel:
    """An unfitted model. Raises ConfigError when there is no such kind."""
    if kind not in KINDS:
        raise ConfigError(f"there is no taste model of the kind {kind!r}; there are {', '.join(sorted(KINDS))}")
    return KINDS[kind]()


def save(
    models: Path, model: TasteModel, model_id: str, metrics: dict[str, Any], settings: dict[str, Any],
    direction: NDArray[np.float32] | None = None, log: str = "",
) -> Path:  # fmt: skip
    """Write a fitted model and make it the current one.

    `direction`: float32 [d], what direction.json is to hold; by default that of the model at its centre. `log`: what
    log.jsonl is to hold, if anything.

    Raises:
        ConfigError: the folder cannot be written. What was current before stays so.
    """
    arrays = model.arrays()
    if direction is None:
        direction = model.direction(np.zeros((0, len(arrays["centre"])), np.float32))
    about = {"format": FORMAT, "kind": model.kind, "model_id": model_id, "settings": settings, "at": time.time()}
    texts = {"model.json": about, "metrics.json": metrics, "direction.json": [float(value) for value in direction]}
    try:
        models.mkdir(parents=True, exist_ok=True)
        sweep(models)
        new = Path(tempfile.mkdtemp(prefix=".new-", dir=models))
        try:
            with (new / "weights.npz").open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
                flush(file)
            for name, value in texts.items():
                write(new / name, json.dumps(value, indent=None if name == "direction.json" else 2) + "\n")
            if log:
                write(new / "log.jsonl", log)
            new.chmod(0o755)
            synchronise(new)
            folder = settle(new, models, f"{time.strftime('%Y%m%d-%H%M%S')}-{model.kind}")
        finally:
            shutil.rmtree(new, ignore_errors=True)
        # another training may end at the same moment, so its part lies in its own folder
        write_whole(models / "current", f"{folder.name}\n".encode(), folder / ".current")
        synchronise(models)
    except OSError as error:
        raise ConfigError(f"{models}: the trained model cannot be stored: {error.strerror}") from error
    return folder


def sweep(models: Path) -> None:
    """Remove what a save that was cut off left behind, once nobody can still be writing it."""
    for left in models.glob(".new-*"):
        with contextlib.suppress(FileNotFoundError):  # another training has just given it its name
            if time.time() - left.stat().st_mtime > SWEPT_SECONDS:
                shutil.rmtree(left, ignore_errors=True)


def settle(new: Path, models: Path, name: str) -> Path:
    """Give a complete folder its name; the next free one when two were trained within a second."""
    for number in range(1, 1000):
        folder = models / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            try:
                new.rename(folder)
            except OSError:
                if folder.exists():  # another program was faster
                    continue
                raise
            return folder
    raise ConfigError(f"{models}: holds too many models named {name}")


def write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        flush(file)


def flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def newest(models: Path) -> Path:
    """The folder of the current model. Raises ConfigError when nothing was trained yet."""
    try:
        name = (models / "current").read_text("utf-8").strip()
    except FileNotFoundError as error:
        raise ConfigError(f"{models}: nothing was trained yet; run train.py") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{models / 'current'}: cannot be read: {error}") from error
    if not name or name != Path(name).name or len(name) > LONGEST_NAME or not (models / name).is_dir():
        raise ConfigError(f"{models / 'current'}: names the model {name!r}, which is not there; run train.py")
    return models / name


def load(folder: Path) -> Checkpoint:
    """Read a folder that `save` made.

    Raises:
        ConfigError: there is none, it is no checkpoint, it is damaged, or it is a newer version's.
    """
    about = read_json(folder / "model.json")
    if not isinstance(about.get("format"), int) or not isinstance(about.get("kind"), str):
        raise ConfigError(f"{folder}: is no checkpoint of a taste model (model.json tells no format and kind)")
    if about["format"] > FORMAT or about["kind"] not in KINDS:
        raise ConfigError(f"{folder}: was made by a newer version; update the program or train again (train.py)")
    settings = about.get("settings") or {}
    if not isinstance(settings, dict):
        raise ConfigError(f"{folder / 'model.json'}: is damaged: `settings` is no object; train again (train.py)")
    try:
        with (folder / "weights.npz").open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        check_numbers(arrays)
        model = KINDS[about["kind"]].from_arrays(arrays)
        model.score(np.zeros((1, len(arrays["centre"])), np.float32))  # shapes that do not fit each other fail here
    except DAMAGE as error:
        raise ConfigError(
            f"{folder / 'weights.npz'}: is damaged or foreign ({error}); train again (train.py)"
        ) from error
    return Checkpoint(
        folder.name, model, str(about.get("model_id", "")), read_json(folder / "metrics.json"),
        settings,
    )  # fmt: skip


def check_numbers(arrays: dict[str, NDArray[Any]]) -> None:
    """Raises ValueError for what is not numbers, or not finite."""
    for name, values in arrays.items():
        if values.dtype.kind not in "fiub" or not np.all(np.isfinite(values)):
            raise ValueError(f"{name} is not made of finite numbers")


def read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}; is its folder a checkpoint?") from error
    except ValueError as error:
        raise ConfigError(f"{path}: is damaged: {error}; train again (train.py)") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: is damaged: it holds no JSON object; train again (train.py)")
    return value
