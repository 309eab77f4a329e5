"""An OpenCLIP model, loaded with its own preprocessing and tokenizer. The only file that imports torch."""

import hashlib
import json
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray

from memesearch.errors import ConfigError
from memesearch.picture import Preprocessing
from memesearch.wire import Vectors

log = logging.getLogger(__name__)
LOCAL = "local-dir:"
HUB = "hf-hub:"
WAY_OUT = (
    "Download the model on a connected machine and set `model` to `local-dir:PATH` of its folder, "
    "or use the bundled one: `local-dir:demo/model`"
)


class ClipModel:
    """Text and pictures to unit vectors of one space. Methods may be called from one thread at a time."""

    def __init__(self, name: str, model: Any, tokenizer: Any, device: torch.device) -> None:
        self.name = name
        self.device = device
        self._model = model.eval().requires_grad_(False)
        self._tokenizer = tokenizer
        self._lock = threading.Lock()
        config = open_clip.get_model_preprocess_cfg(model)
        size = config["size"]
        height, width = (size, size) if isinstance(size, int) else size
        self.preprocessing = Preprocessing(
            width=width,
            height=height,
            resize_mode=config["resize_mode"],
            interpolation=config["interpolation"],
            fill_color=int(config["fill_color"]),
        )
        self._mean = torch.tensor(config["mean"], device=device).view(1, 3, 1, 1) * 255
        self._std = torch.tensor(config["std"], device=device).view(1, 3, 1, 1) * 255
        self.model_id = identify(name, model, config)
        self.half = device.type == "cuda"
        model.to(device=device, dtype=torch.float16 if self.half else torch.float32)
        self.embedding_size = self.encode_text(["warm-up"]).shape[1]

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """float16 unit vectors [n, embedding_size]; texts beyond the context length are cut by the tokenizer."""
        tokens = self._tokenizer(list(texts)).to(self.device)
        with self._lock, torch.inference_mode():
            return self._unit(self._model.encode_text(tokens))

    def encode_pixels(self, batch: NDArray[np.uint8]) -> Vectors:
        """uint8 [n, height, width, 3], already fitted, to float16 unit vectors [n, embedding_size]."""
        uploaded = torch.from_numpy(np.ascontiguousarray(batch)).to(self.device)
        with self._lock, torch.inference_mode():
            normalised = (uploaded.permute(0, 3, 1, 2).float() - self._mean) / self._std
            return self._unit(self._model.encode_image(normalised.half() if self.half else normalised))

    @staticmethod
    def _unit(vectors: torch.Tensor) -> Vectors:
        unit = torch.nn.functional.normalize(vectors.float(), dim=-1)
        return unit.cpu().numpy().astype(np.float16)


def identify(name: str, model: torch.nn.Module, preprocessing: dict[str, Any]) -> str:
    """A name for weights and preprocessing together: equal exactly when the vectors may be compared."""
    digest = hashlib.blake2b(json.dumps(preprocessing, sort_keys=True, default=str).encode(), digest_size=8)
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    label = name.rstrip("/").rsplit("/", 1)[-1].rsplit(":", 1)[-1]
    return f"{label}-{digest.hexdigest()}"


def pick_device(wanted: str) -> torch.device:
    """`auto` is the best device present. Raises ConfigError for one that is absent."""
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"`device`: {wanted} cannot be used here ({first_line}); use `auto` or `cpu`") from error
    return device


def load_model(model: str, pretrained: str | None, device: str, base: Path) -> ClipModel:
    """Load what OpenCLIP calls `model`.

    Args:
        model: an architecture name, `hf-hub:ORG/NAME`, or `local-dir:PATH` (relative to `base`).
        pretrained: a tag of the architecture; the first one listed when absent.
    Raises:
        ConfigError: there is no such model, or its weights cannot be had.
    """
    target = pick_device(device)
    if model.startswith(LOCAL):
        folder = (base / model.removeprefix(LOCAL)).absolute()
        if not (folder / "open_clip_config.json").is_file():
            raise ConfigError(f"`model`: {folder} has no open_clip_config.json, so it is no OpenCLIP model folder")
        source, tag = f"{LOCAL}{folder}", None
    else:
        source, tag = model, None if model.startswith(HUB) else choose_tag(model, pretrained)
    log.info("loading %s%s on %s", model, f" ({tag})" if tag else "", target)
    logging.disable(logging.ERROR)  # OpenCLIP tells its steps to the root logger; the error below says enough
    try:
        loaded = open_clip.create_model(source, pretrained=tag, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(source)
    except Exception as error:  # the hub's client, OpenCLIP and torch each have their own ideas of an error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"`model`: {model} cannot be loaded ({reason}). {WAY_OUT}") from error
    finally:
        logging.disable(logging.NOTSET)
    return ClipModel(model, loaded, tokenizer, target)


def choose_tag(model: str, pretrained: str | None) -> str:
    """The pretrained tag to load for an architecture. Raises ConfigError when there is none such."""
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        raise ConfigError(f"`model`: OpenCLIP knows no pretrained model named {model}. {WAY_OUT}")
    if pretrained is not None and pretrained not in tags:
        raise ConfigError(f"`pretrained`: {model} has no tag {pretrained}; it has {', '.join(tags)}")
    return pretrained or tags[0]
