"""The number format a model runs in: the fastest one that gives the same vectors.

Half the bytes are up to four times the speed where the processor has instructions for them. Whether a
model bears it depends on its weights, and a tower may even be slower (OpenCLIP's own text towers, with their
causal mask, in bfloat16 on a CPU), so it is tried on each tower when the model is loaded, beside float32.
"""

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch

from memesearch.clip.loading import Loaded
from memesearch.clip.model import ClipModel, Dtypes
from memesearch.errors import ConfigError
from memesearch.wire import Vectors

log = logging.getLogger(__name__)
Precision = Literal["auto", "float32", "float16", "bfloat16"]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LEAST_COSINE = 0.9995  # of any sample with its float32 vector; the promise to users is 0.999
ENOUGH_SECONDS = 2.0  # for timing both formats
WORTH_IT = 1.2  # a format must be so much faster to be taken on a CPU
Run = Callable[[ClipModel], Vectors]
TEXTS = ["a cat", "when you regret everything at 3 am", "x", "two people talk, " * 30]


def choose_precision(loaded: Loaded, device: torch.device, wanted: Precision) -> ClipModel:
    """The model on `device` in `wanted`, or each tower in the fastest format that keeps its vectors.

    Raises:
        ConfigError: the vectors are not finite, in any format allowed.
    """
    model = ClipModel(loaded, device)
    samples = sample_pictures(loaded)
    towers: dict[str, Run] = {}
    if loaded.towers != "text":
        towers["vision"] = lambda model: model.encode_pixels(samples)
    if loaded.towers != "vision":
        towers["text"] = lambda model: model.encode_text(TEXTS)
    if not all(np.isfinite(run(model)).all() for run in towers.values()):
        raise ConfigError(f"`model`: the weights of {loaded.name} give vectors that are not finite")
    if wanted != "auto":
        model = ClipModel(loaded, device, Dtypes(DTYPES[wanted], DTYPES[wanted]))
        if not all(np.isfinite(run(model)).all() for run in towers.values()):
            raise ConfigError(f"`precision`: {loaded.name} gives vectors that are not finite in {wanted}; use `auto`")
        return model
    chosen = {"vision": torch.float32, "text": torch.float32}
    for dtype in candidates(device):
        trial = model.copy_to(device, Dtypes(dtype, dtype))
        for tower, run in towers.items():
            if chosen[tower] == torch.float32 and worth_taking(tower, run, trial, model):
                chosen[tower] = dtype
    return ClipModel(loaded, device, Dtypes(**chosen))


def worth_taking(tower: str, run: Run, trial: ClipModel, model: ClipModel) -> bool:
    """Whether `trial` gives the same vectors as `model` and, on a CPU, sooner. Says why in the log."""
    dtype = name_of(trial.dtypes.vision)
    problem = why_not(run(trial), run(model))
    gain = speed_up(run, trial, model) if problem is None else 0.0
    if problem is None and model.device.type == "cpu" and gain < WORTH_IT:
        problem = f"is only {gain:.2f} times as fast"
    if problem is None:
        log.info("the %s tower runs in %s, %.1f times as fast as in float32", tower, dtype, gain)
        return True
    log.info("the %s tower does not run in %s: it %s", tower, dtype, problem)
    return False


def candidates(device: torch.device) -> list[torch.dtype]:
    """Formats worth trying, the most exact first: float16 keeps three bits more than bfloat16."""
    if device.type == "cuda":
        return [torch.float16, torch.bfloat16]
    if device.type == "cpu" and has_bfloat16_units():
        return [torch.bfloat16]
    return []


def has_bfloat16_units() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16 or AMX); others emulate it slowly."""
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, question, lambda: False)() for question in questions)


def why_not(vectors: Vectors, reference: Vectors) -> str | None:
    """Why vectors in another format cannot stand for the reference; None when they can."""
    if not np.isfinite(vectors).all():
        return "gives vectors that are not finite"
    cosine = float((vectors.astype(np.float32) * reference.astype(np.float32)).sum(axis=1).min())
    return f"changes a vector to cosine {cosine:.5f}" if cosine < LEAST_COSINE else None


def sample_pictures(loaded: Loaded) -> "np.ndarray[Any, np.dtype[np.uint8]]":
    """uint8 [4, height, width, 3]: extremes (noise of black and white, white), smooth colours, and blocks."""
    height, width = loaded.preprocessing.height, loaded.preprocessing.width
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 2, (height, width, 3)) * 255
    white = np.full((height, width, 3), 255)
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    smooth = np.stack([across, down, np.full((height, width), 99)], axis=-1)
    blocks = np.kron(rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3)), np.ones((16, 16, 1)))
    return np.stack([noise, white, smooth, blocks[:height, :width]]).astype(np.uint8)


def speed_up(run: Run, trial: ClipModel, model: ClipModel) -> float:
    """How many times as fast `trial` is: the best of up to five turns each, for other work on the machine only
    makes slower; on one core, for the same reason."""

    def best_turns() -> float:
        torch.set_num_threads(1)
        best = [math.inf, math.inf]
        started = time.perf_counter()
        for _ in range(5):
            for i, candidate in enumerate((trial, model)):
                turn = time.perf_counter()
                run(candidate)
                best[i] = min(best[i], time.perf_counter() - turn)
            if time.perf_counter() - started > ENOUGH_SECONDS:
                break
        return best[1] / best[0]

    with ThreadPoolExecutor(1) as thread:  # the number of threads is a setting of the calling thread
        return thread.submit(best_turns).result()


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
