"""Keeps one CUDA device busy: while a batch is computed the next is uploaded, and texts pass on a stream of
their own.

One thread launches everything, as CUDA graphs and compiled code want it; other threads only wait.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
import torch._dynamo.config as limits

from memesearch.clip.arena import runs
from memesearch.clip.batcher import Lane, Modality, OutOfDeviceMemory
from memesearch.clip.model import ClipModel, is_out_of_memory
from memesearch.wire import Vectors

log = logging.getLogger(__name__)
DEPTH = 2
TEXT_BATCH = 64
MOST_SHAPES = 8  # torch.compile gives up silently beyond that many
LEAST_COSINE = 0.9998  # of a compiled with an eager vector


@dataclass
class Stage:
    """Memory of one batch in flight: its pixels on the device, its vectors pinned on the host."""

    pixels: torch.Tensor
    vectors: torch.Tensor


class CudaDevice:
    """Lanes for pictures (two batches in flight) and texts of one device."""

    def __init__(self, model: ClipModel, arena: torch.Tensor, batch: int, compile_model: bool) -> None:
        """`arena`: pinned uint8 [slots, height, width, 3]; a batch's items are slots of it."""
        self._model, self._arena, self._compile = model, arena, compile_model
        self._sizes = padded_sizes(batch)
        self._forward: Callable[[torch.Tensor], torch.Tensor] = model.forward_pixels
        launcher = ThreadPoolExecutor(1, f"launch-{model.device}")
        self._launcher = launcher
        self._texts = Lane(((True, "text"), (False, "text")), self._launch_text, launcher, TEXT_BATCH)
        self._pictures = Lane(((True, "image"), (False, "image")), self._launch, launcher, batch, DEPTH)
        self._free: SimpleQueue[Stage] = SimpleQueue()
        with torch.cuda.device(model.device):
            self._upload, self._compute = torch.cuda.Stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._text = torch.cuda.Stream(priority=-1)  # type: ignore[no-untyped-call]
            size = model.embedding_size
            shape = (batch, *arena.shape[1:])
            for _ in range(DEPTH):
                pixels = torch.empty(shape, dtype=torch.uint8, device=model.device)
                self._free.put(Stage(pixels, torch.empty(batch, size, dtype=torch.float16, pin_memory=True)))
            torch.cuda.synchronize()  # the weights came on another stream than those above

    def lanes(self) -> list[Lane]:
        return [self._texts, self._pictures]

    def warm_up(self) -> None:
        """Run every batch size once, compiled if that works and gives the same vectors.

        Raises:
            OutOfDeviceMemory: not even one picture fits.
        """
        self._launcher.submit(self._warm_up).result()

    def _warm_up(self) -> None:
        if self._model.loaded.towers != "vision":
            for size in padded_sizes(TEXT_BATCH):
                self._launch_text("text", ["warm-up"] * size)()
        if self._model.loaded.towers == "text":
            return
        if self._compile:
            self._try_compiling()
        for i, size in enumerate(self._sizes):
            log.info("warming up %s: batches of %d", self._model.device, size)
            try:
                self._launch("image", list(range(size)))()
            except OutOfDeviceMemory:
                if i == 0:
                    raise
                self._sizes = self._sizes[:i]
                self._pictures.largest = self._pictures.most = self._sizes[-1]
                log.warning("batches of %d do not fit on %s; at most %d", size, self._model.device, self._sizes[-1])
                return

    def _try_compiling(self) -> None:
        """Take the compiled model unless it fails or changes the vectors of any batch size; says so."""
        shape = self._arena.shape[1:]
        limits.recompile_limit = max(2 * MOST_SHAPES * torch.cuda.device_count(), limits.recompile_limit)
        compiled = torch.compile(self._model.forward_pixels, dynamic=False)
        for size in self._sizes:
            log.info("compiling for %s: batches of %d", self._model.device, size)
            samples = torch.randint(0, 256, (size, *shape), dtype=torch.uint8, device=self._model.device)
            try:
                cosine = (compiled(samples) * self._model.forward_pixels(samples)).sum(dim=1).min().item()
            except Exception as error:  # the compiler's errors are of many kinds; running eagerly is always possible
                if is_out_of_memory(error):
                    torch.cuda.empty_cache()
                    break  # the warm-up that follows finds out what fits
                log.warning("the model is not compiled, because compiling failed: %s", str(error).partition("\n")[0])
                return
            if not cosine > LEAST_COSINE:
                log.warning("the model is not compiled, because that changes vectors to cosine %.5f", cosine)
                return
        self._forward = compiled

    def _launch(self, modality: Modality, slots: list[Any]) -> Callable[[], Vectors]:
        stage, count = self._free.get_nowait(), len(slots)  # as many stages as the lane is deep
        size = next(size for size in self._sizes if size >= count) if self._compile else count
        try:
            with torch.cuda.device(self._model.device):
                with torch.cuda.stream(self._upload):
                    offset = 0
                    for start, stop in runs(slots):
                        target = stage.pixels[offset : offset + stop - start]
                        target.copy_(self._arena[start:stop], non_blocking=True)
                        offset += stop - start
                    uploaded = self._upload.record_event()
                with torch.cuda.stream(self._compute):
                    self._compute.wait_event(uploaded)
                    vectors = self._forward(stage.pixels[:size])[:count].to(torch.float16)
                    stage.vectors[:count].copy_(vectors, non_blocking=True)
                    done = finished(self._compute)
        except BaseException as error:
            self._upload.synchronize()  # nothing may still be writing into the stage when it is lent again
            self._compute.synchronize()
            self._free.put(stage)
            if isinstance(error, Exception) and is_out_of_memory(error):
                torch.cuda.empty_cache()
                raise OutOfDeviceMemory("not enough memory on the device") from error
            raise

        def finish() -> Vectors:
            try:
                return collect(done, stage.vectors[:count])
            finally:
                self._free.put(stage)

        return finish

    def _launch_text(self, modality: Modality, texts: list[Any]) -> Callable[[], Vectors]:
        try:
            with torch.cuda.device(self._model.device), torch.cuda.stream(self._text):
                vectors = self._model.forward_text(texts).to(torch.float16)
                answer = torch.empty(vectors.shape, dtype=torch.float16, pin_memory=True)
                answer.copy_(vectors, non_blocking=True)
                done = finished(self._text)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            torch.cuda.empty_cache()
            raise OutOfDeviceMemory("not enough memory on the device") from error
        return lambda: collect(done, answer)


def finished(stream: torch.cuda.Stream) -> torch.cuda.Event:
    """An event after all that is queued now; who waits for it sleeps, for the cores are needed elsewhere."""
    event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    event.record(stream)
    return event


def collect(done: torch.cuda.Event, vectors: torch.Tensor) -> Vectors:
    done.synchronize()
    return np.array(vectors.numpy())


def padded_sizes(most: int) -> list[int]:
    """At most MOST_SHAPES batch sizes, each about twice the one before, ending with `most`."""
    sizes = [most]
    while sizes[0] > 1 and len(sizes) < MOST_SHAPES:
        sizes.insert(0, (sizes[0] + 1) // 2)
    return sizes
