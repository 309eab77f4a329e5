"""The batcher beside what it promises: shared batches, bounds, order of service, cancellation."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest

from memesearch.clip.batcher import Batcher
from memesearch.errors import Overloaded
from memesearch.wire import from_bytes


class Encoder:
    """Turns number n into the vector [n]; holds every batch until it is let through."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Semaphore(0)

    def __call__(self, items: list[Any]) -> Any:
        self.batches.append(items)
        assert self.gate.acquire(timeout=30)
        if "fail" in items:
            raise RuntimeError("the device is unwell")
        return np.array([[item] for item in items], np.float16)

    def let(self, batches: int) -> None:
        self.gate.release(batches)


class Running:
    """A batcher with one encoder for both modalities, run for the length of a test."""

    def __init__(self, max_batch_size: int = 4, max_waiting: int = 100) -> None:
        self.encode = Encoder()
        self.batcher = Batcher({"text": self.encode, "image": self.encode}, max_batch_size, max_waiting)

    async def __aenter__(self) -> "Running":
        self.task = asyncio.create_task(self.batcher.run())
        self.first = self.submit([0])  # occupies the device, so that what follows waits together
        while not self.encode.batches:
            await asyncio.sleep(0.001)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.encode.let(1000)
        self.task.cancel()
        await asyncio.gather(self.task, self.first, return_exceptions=True)

    def submit(self, items: list[Any], bulk: bool = False) -> "asyncio.Task[list[bytes]]":
        return asyncio.create_task(self.batcher.submit("image", items, interactive=not bulk))


def values(answer: list[bytes]) -> list[float]:
    return [float(from_bytes(vector)[0]) for vector in answer]


async def test_requests_that_wait_together_share_a_batch_and_get_their_own_answers_in_order() -> None:
    async with Running() as running:
        one, two = running.submit([1, 2]), running.submit([3, 4])
        await asyncio.sleep(0)
        running.encode.let(2)
        assert (values(await one), values(await two)) == ([1, 2], [3, 4])
        assert running.encode.batches == [[0], [1, 2, 3, 4]]


async def test_a_request_larger_than_a_batch_is_answered_whole() -> None:
    async with Running() as running:
        task = running.submit(list(range(1, 12)))
        await asyncio.sleep(0)
        running.encode.let(10)
        assert values(await task) == list(range(1, 12))
        assert max(map(len, running.encode.batches)) == 4


async def test_interactive_items_pass_before_bulk_but_do_not_starve_it() -> None:
    async with Running(max_batch_size=1) as running:
        tasks = [running.submit([100, 101], bulk=True)]
        await asyncio.sleep(0)
        tasks += [running.submit([n]) for n in range(1, 7)]
        await asyncio.sleep(0)
        running.encode.let(20)
        await asyncio.gather(*tasks)
        order = [batch[0] for batch in running.encode.batches]
        assert order.index(1) < order.index(100) < order.index(6)


async def test_what_a_client_gave_up_on_never_reaches_the_device() -> None:
    async with Running() as running:
        gone, stays = running.submit([1]), running.submit([2])
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        running.encode.let(2)
        assert values(await stays) == [2]
        assert running.encode.batches == [[0], [2]]


async def test_too_much_waiting_is_refused_at_once() -> None:
    async with Running(max_waiting=3) as running:
        kept = running.submit([1, 2])
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 items wait already"):
            await running.submit([3, 4])
        running.encode.let(2)
        assert values(await kept) == [1, 2]


async def test_an_error_of_the_device_reaches_its_requests_and_the_next_batch_is_served() -> None:
    async with Running(max_batch_size=1) as running:
        bad, good = running.submit(["fail"]), running.submit([5])
        await asyncio.sleep(0)
        running.encode.let(3)
        with pytest.raises(RuntimeError, match="unwell"):
            await bad
        assert values(await good) == [5]
