"""The CUDA path with streams and events that do nothing: what it computes, and how it goes on after errors.

Only torch.cuda is a stand-in; the real thing is run by `bench/embed.py --device cuda`.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from services import DEMO_MODEL

from memesearch.clip import cuda
from memesearch.clip.batcher import OutOfDeviceMemory
from memesearch.clip.cuda import CudaDevice
from memesearch.clip.loading import load_model
from memesearch.clip.model import ClipModel
from memesearch.clip.precision import choose_precision

SLOTS, BATCH = 24, 8


class Stream:
    def __init__(self, priority: int = 0) -> None: ...
    def record_event(self) -> "Event":
        return Event()

    def wait_event(self, event: "Event") -> None: ...
    def synchronize(self) -> None: ...


class Event:
    def __init__(self, blocking: bool = False) -> None: ...
    def record(self, stream: Stream) -> None: ...
    def synchronize(self) -> None: ...


@pytest.fixture(scope="module")
def model() -> ClipModel:
    return choose_precision(load_model(DEMO_MODEL), torch.device("cpu"), "float32")


@pytest.fixture
def arena(model: ClipModel) -> torch.Tensor:
    want = model.loaded.preprocessing
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (SLOTS, want.height, want.width, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything of torch.cuda that the device uses, on the CPU and without a queue."""
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, pin_memory=False, **more: empty(*size, **more))
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    for name in ("stream", "device"):
        monkeypatch.setattr(torch.cuda, name, lambda _: contextlib.nullcontext())
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    yield


def device(model: ClipModel, arena: torch.Tensor, compile_model: bool = False) -> CudaDevice:
    return CudaDevice(model, arena, BATCH, compile_model)


def pictures(made: CudaDevice, slots: list[int]) -> Any:
    """Launch a batch; what is returned waits for its vectors."""
    lane = made.lanes()[1]
    return lane.launch("image", slots)


def expected(model: ClipModel, arena: torch.Tensor, slots: list[int]) -> Any:
    return model.forward_pixels(arena[slots]).numpy()


def out_of_memory_above(model: ClipModel, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = model.forward_pixels

    def limited(pixels: torch.Tensor) -> torch.Tensor:
        if len(pixels) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(pixels)

    monkeypatch.setattr(model, "forward_pixels", limited)


@pytest.mark.parametrize("slots", [[0], [3, 4, 5], [7, 1, 2, 20], list(range(8)), [23, 0, 11, 12]])
@pytest.mark.parametrize("compiled", [False, True])
def test_a_batch_gets_the_vectors_of_its_own_slots(
    model: ClipModel, arena: torch.Tensor, slots: list[int], compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
    made = device(model, arena, compiled)
    made.warm_up()
    assert np.abs(pictures(made, slots)() - expected(model, arena, slots)).max() < 2e-3


def test_texts_get_the_models_vectors(model: ClipModel, arena: torch.Tensor) -> None:
    vectors = device(model, arena).lanes()[0].launch("text", ["a cat", "a dog"])()
    assert np.abs(vectors - model.forward_text(["a cat", "a dog"]).numpy()).max() < 2e-3


def test_a_batch_in_flight_keeps_its_vectors_when_the_next_runs_out_of_memory(
    model: ClipModel, arena: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = device(model, arena)
    first = pictures(made, [0, 1])
    with monkeypatch.context() as context:
        out_of_memory_above(model, 0, context)
        made._forward = model.forward_pixels
        for _ in range(5):
            with pytest.raises(OutOfDeviceMemory):
                pictures(made, [2, 3])
    made._forward = model.forward_pixels
    second = pictures(made, [4])
    assert np.abs(first() - expected(model, arena, [0, 1])).max() < 2e-3
    assert np.abs(second() - expected(model, arena, [4])).max() < 2e-3


@pytest.mark.parametrize(("most", "largest"), [(8, 8), (7, 4), (2, 2), (1, 1)])
def test_warm_up_finds_the_largest_batch_that_fits(
    model: ClipModel, arena: torch.Tensor, most: int, largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_above(model, most, monkeypatch)
    made = device(model, arena)
    made.warm_up()
    lane = made.lanes()[1]
    assert (lane.largest, lane.most) == (largest, largest)


def test_a_device_on_which_nothing_fits_is_an_error(
    model: ClipModel, arena: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    out_of_memory_above(model, 0, monkeypatch)
    with pytest.raises(OutOfDeviceMemory):
        device(model, arena).warm_up()


@pytest.mark.parametrize("wrong_from", [1, BATCH])
def test_compiled_code_that_changes_vectors_at_any_batch_size_is_not_used(
    model: ClipModel, arena: torch.Tensor, wrong_from: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = model.forward_pixels

    def compiled(pixels: torch.Tensor) -> torch.Tensor:
        vectors = forward(pixels)
        return vectors.roll(1, dims=1) if len(pixels) >= wrong_from else vectors

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: compiled)
    made = device(model, arena, compile_model=True)
    made.warm_up()
    assert np.abs(pictures(made, list(range(8)))() - expected(model, arena, list(range(8)))).max() < 2e-3


def test_code_that_does_not_compile_is_not_used(
    model: ClipModel, arena: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(pixels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no C compiler")

    monkeypatch.setattr(torch, "compile", lambda function, dynamic: fails)
    made = device(model, arena, compile_model=True)
    made.warm_up()
    assert np.abs(pictures(made, [5])() - expected(model, arena, [5])).max() < 2e-3


def test_padded_sizes_end_with_the_largest_and_are_few() -> None:
    assert cuda.padded_sizes(64) == [1, 2, 4, 8, 16, 32, 64]
    assert cuda.padded_sizes(100) == [1, 2, 4, 7, 13, 25, 50, 100]
    assert cuda.padded_sizes(1) == [1]
    assert len(cuda.padded_sizes(4096)) == cuda.MOST_SHAPES
