"""One copy of a model on one device: text and fitted pixels in, unit vectors out."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from memesearch.clip.loading import Loaded
from memesearch.errors import ConfigError, MemeSearchError
from memesearch.wire import Vectors

MAX_CHARACTERS = 4000  # of a text; no tokenizer's context is longer, and some take gigabytes for a very long one


class NotServed(MemeSearchError):
    """The tower that this needs was not loaded."""

    status = 501


@dataclass(frozen=True)
class Dtypes:
    """The number formats of the two towers."""

    vision: torch.dtype = torch.float32
    text: torch.dtype = torch.float32


class ClipModel:
    """Methods may be called from several threads. `model` is moved, not copied."""

    def __init__(self, loaded: Loaded, device: torch.device, dtypes: Dtypes = Dtypes()) -> None:
        self.loaded = loaded
        self.device = device
        self.dtypes = dtypes
        self._module = loaded.module.to(device=device, dtype=dtypes.text)
        if loaded.towers != "text":
            self._module.visual.to(dtype=dtypes.vision)
        self._mean = torch.tensor(loaded.mean, device=device).view(1, 3, 1, 1) * 255
        self._scale = 1 / (torch.tensor(loaded.std, device=device).view(1, 3, 1, 1) * 255)

    @property
    def embedding_size(self) -> int:
        """Length of the vectors; costs a forward pass."""
        if self.loaded.towers == "vision":
            want = self.loaded.preprocessing
            return self.forward_pixels(torch.zeros(1, want.height, want.width, 3, dtype=torch.uint8)).shape[1]
        return self.forward_text(["size"]).shape[1]

    def require(self, modality: Literal["text", "image"]) -> None:
        """Raises NotServed when the tower for it was not loaded."""
        towers = self.loaded.towers
        if towers == "vision" and modality == "text":
            raise NotServed("this service was started with `towers`: vision, so it embeds no text")
        if towers == "text" and modality == "image":
            raise NotServed("this service was started with `towers`: text, so it embeds no pictures")

    def forward_text(self, texts: Sequence[str]) -> torch.Tensor:
        """float32 unit vectors [n, d] on the device; the tokenizer cuts what exceeds the context length.

        Raises:
            NotServed: the text tower was not loaded.
        """
        self.require("text")
        tokens = self.loaded.tokenizer([text[:MAX_CHARACTERS] for text in texts]).to(self.device, non_blocking=True)
        with torch.inference_mode():
            return unit(self._module.encode_text(tokens))

    def forward_pixels(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8 [n, height, width, 3], fitted, on any device, to float32 unit vectors [n, d] on the device.

        Raises:
            NotServed: the vision tower was not loaded.
        """
        self.require("image")
        with torch.inference_mode():
            uploaded = pixels.to(self.device, non_blocking=True).permute(0, 3, 1, 2)
            normalised = (uploaded.float() - self._mean) * self._scale
            return unit(self._module.encode_image(normalised.to(self.dtypes.vision)))

    def encode_text(self, texts: Sequence[str]) -> Vectors:
        """float16 unit vectors [n, d]."""
        return to_numpy(self.forward_text(texts))

    def encode_pixels(self, batch: "np.ndarray[Any, np.dtype[np.uint8]]") -> Vectors:
        """uint8 [n, height, width, 3], fitted, to float16 unit vectors [n, d]."""
        return to_numpy(self.forward_pixels(torch.from_numpy(np.require(batch, requirements=["C", "W"]))))

    def copy_to(self, device: torch.device, dtypes: Dtypes | None = None) -> "ClipModel":
        """Another copy, on another device or in another format; this one stays as it is."""
        loaded = copy.copy(self.loaded)
        loaded.module = copy.deepcopy(self.loaded.module)
        return ClipModel(loaded, device, dtypes or self.dtypes)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the device had no memory; only CUDA's allocator has a class of its own for that."""
    signs = ("out of memory", "can't allocate memory", "ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(sign in str(error) for sign in signs)


def unit(vectors: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def to_numpy(vectors: torch.Tensor) -> Vectors:
    return vectors.to(torch.float16).cpu().numpy()


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


def pick_devices(wanted: Sequence[str]) -> list[torch.device]:
    """Devices of one kind. Raises ConfigError for absent ones and for a mixture."""
    devices = [pick_device(name) for name in wanted]
    if len({device.type for device in devices}) > 1:
        raise ConfigError(f"`device`: {', '.join(wanted)} are of several kinds; start a service for each kind")
    return devices
