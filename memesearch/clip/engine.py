"""A model on one or several devices, as lanes for the batcher.

CUDA devices are in cuda.py.
"""

import logging
import timeit
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from memesearch.clip.arena import PixelArena, runs
from memesearch.clip.batcher import BULK, INTERACTIVE, Lane, Modality, OutOfDeviceMemory
from memesearch.clip.cuda import CudaDevice
from memesearch.clip.loading import Loaded
from memesearch.clip.model import ClipModel, is_out_of_memory, to_numpy
from memesearch.clip.precision import Precision, choose_precision
from memesearch.machine import usable_cores
from memesearch.wire import Vectors

log = logging.getLogger(__name__)
BATCHES_IN_ARENA = 16  # for each device
RESERVED_SLOTS = 16  # for interactive pictures
MOST_LANES = 8  # of a CPU; with more cores each lane has several
BATCH_SECONDS = 2.0  # on a CPU larger batches are no faster, and a stop would have to wait for them


@dataclass
class Engine:
    """What the service needs of its devices.

    Attributes:
        batch: pictures worth sending in one request.
        parallel: requests worth having in flight.
        warm_up: to be run once, on a thread, before anything is embedded.
    """

    model: ClipModel
    lanes: list[Lane]
    arena: PixelArena
    batch: int
    parallel: int
    embedding_size: int
    warm_up: Callable[[], None]
    memory: Callable[[], dict[str, int]]


def make_engine(
    loaded: Loaded, devices: Sequence[torch.device], precision: Precision, max_batch_size: int, compile_model: bool
) -> Engine:
    """Put the model on the devices. Raises ConfigError for a precision that cannot be used."""
    first = choose_precision(loaded, devices[0], precision)
    log.info("%s on %s", loaded.model_id, ", ".join(map(str, devices)))
    models = [first, *(first.copy_to(target) for target in devices[1:])]
    batch = max_batch_size if devices[0].type == "cuda" else batch_for(first, max_batch_size)
    slots = 1 if loaded.towers == "text" else BATCHES_IN_ARENA * batch * len(models) + RESERVED_SLOTS
    pixels = allocate(loaded, slots, devices[0])
    lanes: list[Lane] = []
    cuda: list[CudaDevice] = []
    cores = max(1, usable_cores() // len(models))
    for model in models:
        if model.device.type == "cuda":
            cuda.append(CudaDevice(model, pixels, batch, compile_model))
            lanes += cuda[-1].lanes()
        else:
            lanes += cpu_lanes(model, pixels, batch, cores)

    def warm_up() -> None:
        for device in cuda:
            device.warm_up()

    def memory() -> dict[str, int]:
        return {str(model.device): torch.cuda.memory_allocated(model.device) for model in models if cuda}

    parallel = 1 + sum(lane.depth for lane in lanes if (False, "image") in lane.keys)
    arena = PixelArena(pixels.numpy(), min(RESERVED_SLOTS, slots - 1))
    return Engine(first, lanes, arena, batch, parallel, first.embedding_size, warm_up, memory)


def allocate(loaded: Loaded, slots: int, device: torch.device) -> torch.Tensor:
    """uint8 [slots, height, width, 3]; pinned for CUDA, else only as much of it is real memory as was used."""
    want = loaded.preprocessing
    shape = (slots, want.height, want.width, 3)
    return torch.empty(shape, dtype=torch.uint8, pin_memory=device.type == "cuda")


def batch_for(model: ClipModel, most: int) -> int:
    """The largest power of two, up to `most`, that one core does in BATCH_SECONDS; at least 2."""
    if model.loaded.towers == "text" or most <= 2:
        return most
    want = model.loaded.preprocessing
    samples = np.zeros((2, want.height, want.width, 3), np.uint8)

    def seconds() -> float:
        torch.set_num_threads(1)
        model.encode_pixels(samples)
        return min(timeit.repeat(lambda: model.encode_pixels(samples), number=1, repeat=2))

    with ThreadPoolExecutor(1) as thread:  # the number of threads is a setting of the calling thread
        fitting = 2 * BATCH_SECONDS / thread.submit(seconds).result()
    batch = 2
    while batch * 2 <= min(most, fitting):
        batch *= 2
    return min(most, batch) if fitting < most else most


def cpu_lanes(model: ClipModel, pixels: torch.Tensor, batch: int, cores: int) -> list[Lane]:
    """A lane with all cores for what a person waits for, and a lane a core (at most MOST_LANES) for everything.

    Two batches on a core each are done sooner than two on both cores one after the other: nothing waits for
    the slower half, whether the model or a decoder that needs a core for a moment made it slower.
    """

    def launch(modality: Modality, items: list[Any]) -> Callable[[], Vectors]:
        vectors = compute(model, pixels, modality, items)
        return lambda: vectors

    def thread(count: int, name: str) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, name, initializer=torch.set_num_threads, initargs=(count,))

    if model.device.type != "cpu":
        return [Lane(INTERACTIVE + BULK, launch, thread(cores, "all"), batch)]
    lanes = [Lane(INTERACTIVE, launch, thread(cores, "quick"), batch)]
    count = min(cores, MOST_LANES)
    threads = [cores // count + (i < cores % count) for i in range(count)]
    return lanes + [Lane(INTERACTIVE + BULK, launch, thread(number, "bulk"), batch) for number in threads]


def compute(model: ClipModel, pixels: torch.Tensor, modality: Modality, items: list[Any]) -> Vectors:
    """One batch, from start to end. Items are texts, or slots of `pixels`."""
    try:
        if modality == "text":
            return to_numpy(model.forward_text(items))
        parts = [pixels[start:stop] for start, stop in runs(items)]
        return to_numpy(model.forward_pixels(parts[0] if len(parts) == 1 else torch.cat(parts)))
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise OutOfDeviceMemory("not enough memory") from error
        raise
