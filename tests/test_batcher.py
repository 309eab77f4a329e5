"""Batches across requests: sharing, order, priority, lanes, cancelling, memory and errors."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from memesearch.admission import Limit
from memesearch.clip.batcher import (
    BULK,
    GOOD_BATCHES,
    INTERACTIVE,
    Batcher,
    DeviceFailed,
    Lane,
    NotFinite,
    OutOfDeviceMemory,
)
from memesearch.errors import Overloaded, Unavailable


class Device:
    """Turns number n into the vector [n]; holds every batch until it is let through."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.batches: list[list[Any]] = []
        self.gate = threading.Semaphore(0)

    def __call__(self, _modality: str, items: list[Any]) -> Callable[[], Any]:
        self.batches.append(items)
        assert self.gate.acquire(timeout=30)
        if "fail" in items:
            raise RuntimeError("the device is unwell")
        if len(items) > self.room:
            raise OutOfDeviceMemory
        return lambda: np.array([[item] for item in items], np.float16)

    def let(self, batches: int) -> None:
        self.gate.release(batches)


class Running:
    """A batcher with one lane for everything, occupied by item 0, so that what follows waits together."""

    def __init__(self, max_batch_size: int = 4, quick_lane: bool = False, room: int = 1000) -> None:
        self.device, self.quick = Device(room), Device()
        lanes = [Lane(INTERACTIVE + BULK, self.device, ThreadPoolExecutor(1), max_batch_size)]
        if quick_lane:
            lanes.append(Lane(INTERACTIVE, self.quick, ThreadPoolExecutor(1), max_batch_size))
        self.batcher = Batcher(lanes)

    async def __aenter__(self) -> "Running":
        self.first = self.submit([0], bulk=True)
        while not self.device.batches:
            await asyncio.sleep(0.001)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.device.let(1000)
        self.quick.let(1000)
        await asyncio.gather(self.first, return_exceptions=True)
        self.batcher.close()

    def submit(self, items: list[Any], bulk: bool = False) -> "asyncio.Task[Any]":
        return asyncio.create_task(self.batcher.submit("image", items, interactive=not bulk))


def values(answer: Any) -> list[float]:
    return [float(row[0]) for row in answer]


async def test_requests_that_wait_together_share_a_batch_and_get_their_own_answers_in_order() -> None:
    async with Running() as running:
        one, two = running.submit([1, 2]), running.submit([3, 4])
        await asyncio.sleep(0)
        running.device.let(2)
        assert (values(await one), values(await two)) == ([1, 2], [3, 4])
        assert running.device.batches == [[0], [1, 2, 3, 4]]


async def test_a_request_larger_than_a_batch_is_answered_whole() -> None:
    async with Running() as running:
        task = running.submit(list(range(1, 12)))
        await asyncio.sleep(0)
        running.device.let(10)
        assert values(await task) == list(range(1, 12))
        assert max(map(len, running.device.batches)) == 4


async def test_interactive_items_pass_before_bulk_but_do_not_starve_it() -> None:
    async with Running(max_batch_size=1) as running:
        tasks = [running.submit([100, 101], bulk=True)]
        await asyncio.sleep(0)
        tasks += [running.submit([n]) for n in range(1, 7)]
        await asyncio.sleep(0)
        running.device.let(20)
        await asyncio.gather(*tasks)
        order = [batch[0] for batch in running.device.batches]
        assert order.index(1) < order.index(100) < order.index(6)


async def test_what_a_person_waits_for_is_embedded_while_a_bulk_batch_runs() -> None:
    async with Running(quick_lane=True) as running:
        bulk, person = running.submit([1, 2], bulk=True), running.submit([9])
        await asyncio.sleep(0)
        running.quick.let(1)
        assert values(await person) == [9]
        assert not bulk.done()
        running.device.let(2)
        assert values(await bulk) == [1, 2]
        assert running.quick.batches == [[9]]


async def test_what_a_client_gave_up_on_never_reaches_the_device() -> None:
    async with Running() as running:
        gone, stays = running.submit([1]), running.submit([2])
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.sleep(0)
        running.device.let(2)
        assert values(await stays) == [2]
        assert running.device.batches == [[0], [2]]


async def test_too_much_waiting_is_refused_at_once_but_a_lone_large_request_is_not() -> None:
    refused: list[str] = []
    limit = Limit("items", 3, refused.append)
    with limit.hold(2):
        with pytest.raises(Overloaded, match="2 items wait already"), limit.hold(2):
            pass
        with limit.hold(1):
            assert limit.used == 3
    with limit.hold(50) as lone:
        lone.grow(50)
        assert limit.used == 100
        with pytest.raises(Overloaded), limit.hold() as other:
            other.grow(1)
    assert (limit.used, refused) == (0, ["items", "items"])


async def test_an_error_of_the_device_reaches_its_requests_and_the_next_batch_is_served() -> None:
    async with Running(max_batch_size=1) as running:
        bad, good = running.submit(["fail"]), running.submit([5])
        await asyncio.sleep(0)
        running.device.let(3)
        with pytest.raises(DeviceFailed, match="unwell"):
            await bad
        assert values(await good) == [5]


async def test_out_of_memory_makes_batches_smaller_and_loses_nothing() -> None:
    async with Running(max_batch_size=8, room=3) as running:
        tasks = [running.submit([1, 2, 3, 4, 5]), running.submit([6, 7, 8, 9])]
        await asyncio.sleep(0)
        running.device.let(20)
        assert [values(await task) for task in tasks] == [[1, 2, 3, 4, 5], [6, 7, 8, 9]]
        assert [len(batch) for batch in running.device.batches] == [1, 8, 4, 2, 2, 2, 2, 1]


def test_after_many_good_batches_larger_ones_are_tried_again() -> None:
    lane = Lane(BULK, Device(), ThreadPoolExecutor(1), 64)
    lane.step_down(64)
    lane.step_down(3)
    assert lane.largest == 1
    for _ in range(10 * GOOD_BATCHES):
        lane.went_well()
    assert lane.largest == 64


async def test_who_has_waited_longest_comes_first_among_texts_and_pictures() -> None:
    async with Running(max_batch_size=1) as running:
        picture = running.submit([1], bulk=True)
        await asyncio.sleep(0.01)
        texts = [asyncio.create_task(running.batcher.submit("text", [n], interactive=False)) for n in (2, 3)]
        await asyncio.sleep(0)
        running.device.let(10)
        await asyncio.gather(picture, *texts)
        assert running.device.batches == [[0], [1], [2], [3]]


async def test_work_is_spread_over_devices_before_any_has_two_batches() -> None:
    devices = [Device(), Device()]
    batcher = Batcher([Lane(BULK, device, ThreadPoolExecutor(1), 1, depth=2) for device in devices])
    task = asyncio.create_task(batcher.submit("image", [1, 2], interactive=False))
    while not all(device.batches for device in devices):
        await asyncio.sleep(0.001)
    for device in devices:
        device.let(1)
    assert values(await task) == [1, 2]
    batcher.close()


async def test_an_answer_of_the_wrong_shape_leaves_nobody_waiting() -> None:
    lane = Lane(BULK, lambda modality, items: lambda: np.zeros(3, np.float16), ThreadPoolExecutor(1), 4)
    batcher = Batcher([lane])
    with pytest.raises(DeviceFailed):
        await batcher.submit("text", ["a", "b"], interactive=False)
    batcher.close()


async def test_an_item_that_does_not_fit_alone_is_refused() -> None:
    async with Running(room=0) as running:
        task = running.submit([1])
        running.device.let(5)
        with pytest.raises(Unavailable, match="not enough memory"):
            await task


async def test_a_vector_that_is_not_finite_fails_only_its_own_request() -> None:
    async with Running() as running:
        bad, good = running.submit([1, float("nan")]), running.submit([2])
        await asyncio.sleep(0)
        running.device.let(3)
        with pytest.raises(NotFinite, match="item 1"):
            await bad
        assert values(await good) == [2]


async def test_what_waits_and_how_busy_the_device_is_can_be_asked() -> None:
    async with Running() as running:
        task = running.submit([1, 2, 3], bulk=True)
        await asyncio.sleep(0.01)
        assert running.batcher.waiting()[False, "image"] == 3
        assert running.batcher.oldest() > 0
        running.device.let(2)
        await task
        await running.first
        await asyncio.sleep(0)
        busy = running.batcher.busy_seconds()
        await asyncio.sleep(0.02)
        assert running.batcher.busy_seconds() == busy > 0
        assert running.batcher.oldest() == 0
