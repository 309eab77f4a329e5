"""Loading an OpenCLIP model with its own preprocessing and tokenizer, and naming it."""

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import open_clip
import torch

from memesearch.errors import ConfigError
from memesearch.picture import Preprocessing

log = logging.getLogger(__name__)
LOCAL = "local-dir:"
HUB = "hf-hub:"
WAY_OUT = (
    "Download the model on a connected machine and set `model` to `local-dir:PATH` of its folder, "
    "or use the bundled one: `local-dir:demo/model`"
)
DECISIVE = ("pool_type", "global_pool", "attn_pool_type", "approximate")
PROBE = "A cat's MEME: 2 penguins & 猫 ünd 😀!"
Towers = Literal["both", "vision", "text"]
TEXT_PARTS = ("text", "transformer", "token_embedding", "ln_final", "positional_embedding", "text_projection")


@dataclass
class Loaded:
    """A model on the CPU in float32, and what is known of it.

    Attributes:
        mean, std: per channel, for pixel values from 0 to 1.
    """

    name: str
    module: Any
    tokenizer: Any
    preprocessing: Preprocessing
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    model_id: str
    towers: Towers


def load_model(model: str, pretrained: str | None = None, base: Path = Path(), towers: Towers = "both") -> Loaded:
    """Load what OpenCLIP calls `model`.

    Args:
        model: an architecture name, `hf-hub:ORG/NAME`, or `local-dir:PATH` (relative to `base`).
        pretrained: a tag of the architecture; the first one listed when absent.
        towers: which halves to keep in memory.
    Raises:
        ConfigError: there is no such model, or its weights cannot be had.
    """
    if model.startswith(LOCAL):
        folder = (base / model.removeprefix(LOCAL)).absolute()
        if not (folder / "open_clip_config.json").is_file():
            raise ConfigError(f"`model`: {folder} has no open_clip_config.json, so it is no OpenCLIP model folder")
        source, tag = f"{LOCAL}{folder}", None
    else:
        source, tag = model, None if model.startswith(HUB) else choose_tag(model, pretrained)
    log.info("loading %s%s", model, f" ({tag})" if tag else "")
    logging.disable(logging.ERROR)  # OpenCLIP tells its steps to the root logger; the error below says enough
    try:
        module = open_clip.create_model(source, pretrained=tag, require_pretrained=True)
        tokenizer = open_clip.get_tokenizer(source)
    except Exception as error:  # the hub's client, OpenCLIP and torch each have their own ideas of an error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(f"`model`: {model} cannot be loaded ({reason}). {WAY_OUT}") from error
    finally:
        logging.disable(logging.NOTSET)
    return describe(model, module, tokenizer, towers)


def describe(name: str, module: Any, tokenizer: Any, towers: Towers = "both") -> Loaded:
    """What there is to know of an OpenCLIP module; drops the tower that is not wanted."""
    config = open_clip.get_model_preprocess_cfg(module)
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    preprocessing = Preprocessing(
        width=width,
        height=height,
        resize_mode=config["resize_mode"],
        interpolation=config["interpolation"],
        fill_color=int(config["fill_color"]),
    )
    model_id = identify(module, config, tokenizer)
    drop = {"both": (), "vision": TEXT_PARTS, "text": ("visual",)}[towers]
    for part in drop:
        if hasattr(module, part):
            delattr(module, part)
    module.eval().requires_grad_(False)
    return Loaded(name, module, tokenizer, preprocessing, config["mean"], config["std"], model_id, towers)


def identify(model: torch.nn.Module, preprocessing: dict[str, Any], tokenizer: Any) -> str:
    """A name for all that makes a vector: equal exactly when vectors may be compared.

    Weights alone do not say what is computed with them: which activation (OpenAI's QuickGELU or GELU), how tokens
    are pooled, how a text becomes tokens.
    """
    digest = hashlib.blake2b(json.dumps(preprocessing, sort_keys=True, default=str).encode(), digest_size=8)
    for module in model.modules():
        settings = [(name, getattr(module, name)) for name in DECISIVE if isinstance(getattr(module, name, None), str)]
        digest.update(f"{type(module).__name__}{settings}".encode())
    digest.update(json.dumps(tokenizer([PROBE]).tolist()).encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return f"openclip-{digest.hexdigest()}"


def choose_tag(model: str, pretrained: str | None) -> str:
    """The pretrained tag to load for an architecture. Raises ConfigError when there is none such."""
    tags = open_clip.list_pretrained_tags_by_model(model)
    if not tags:
        raise ConfigError(f"`model`: OpenCLIP knows no pretrained model named {model}. {WAY_OUT}")
    if pretrained is not None and pretrained not in tags:
        raise ConfigError(f"`pretrained`: {model} has no tag {pretrained}; it has {', '.join(tags)}")
    return pretrained or tags[0]
