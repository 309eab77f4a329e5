"""The embedding service without HTTP: what is admitted, decoded, put into the arena and batched."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from memesearch.admission import Hold, Limit
from memesearch.clip import metrics
from memesearch.clip.arena import runs
from memesearch.clip.batcher import Batcher, Modality, NotFinite
from memesearch.clip.body import BodyReader
from memesearch.clip.decode_worker import Decoded, DecodeRequest
from memesearch.clip.engine import Engine
from memesearch.config import ClipServerConfig
from memesearch.errors import BadRequest, TooLarge, Unavailable
from memesearch.machine import usable_cores
from memesearch.seldom import Seldom
from memesearch.wire import PixelHeader, Vectors
from memesearch.workers import WorkerDied, WorkerPool

log = logging.getLogger(__name__)
seldom = Seldom(log)

MAX_WAITING_BYTES = 1024 * 2**20
LEAST_WAITING_ITEMS = 1024
BATCHES_WAITING = 32  # how many full batches may wait before clients are told to come back
INTERACTIVE_PICTURES = 4  # a request of at most so many pictures comes from a person, not from an indexer
INTERACTIVE_TEXTS = 64  # as many as a query of the backend may have
MAX_ITEMS = 65_536  # in one request
PARTS_IN_FLIGHT = 2  # of one large request: the next is decoded or received while one is computed
PREFETCH_BYTES = 2**20  # of a body have to be there before it is lent slots
DECODE_SECONDS = 60.0
INTERACTIVE_DECODERS = 2


class Service:
    """The parts of a running service."""

    def __init__(self, config: ClipServerConfig, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self.want = engine.model.loaded.preprocessing
        self.batcher = Batcher(engine.lanes, metrics.Observer(config.model_name or config.model))
        self.arena = engine.arena
        waiting = max(LEAST_WAITING_ITEMS, BATCHES_WAITING * engine.batch)
        self.items = {  # so that bulk never takes a person's place
            True: Limit("interactive items", LEAST_WAITING_ITEMS, self._refused),
            False: Limit("items", waiting, self._refused),
        }
        self.bytes = Limit("bytes", MAX_WAITING_BYTES, self._refused)
        self.form_bytes = Limit("bytes of forms", MAX_WAITING_BYTES // 4, self._refused)
        workers = config.decode_workers or usable_cores()
        self.decoders = {  # people's pictures have workers of their own, so that they never queue behind bulk
            True: WorkerPool("memesearch.clip.decode_worker", INTERACTIVE_DECODERS, DECODE_SECONDS),
            False: WorkerPool("memesearch.clip.decode_worker", workers, DECODE_SECONDS),
        }
        self._trying: asyncio.Task[None] | None = None
        self.ready = self.failed = False
        self.problem = "the model is warming up"

    def _refused(self, what: str) -> None:
        metrics.REJECTED.labels(what).inc()
        seldom.warning(what, f"too many {what} wait: requests are told to come back (status 429)")

    async def warm_up(self) -> None:
        """Run once, in the background; until its end requests are answered with status 503."""
        try:
            await asyncio.to_thread(self.engine.warm_up)
        except Exception as error:
            log.exception("warm-up failed; the service ends")
            self.problem, self.failed = f"warm-up failed: {error}", True
            signal.raise_signal(signal.SIGTERM)
            return
        self.ready = True
        metrics.READY.set(1)

    async def embed_texts(self, texts: list[str], bulk: bool) -> Vectors:
        """float16 unit vectors [n, d]. Raises Overloaded, Unavailable."""
        self.check_ready("text")
        if not texts:
            return np.empty((0, self.engine.embedding_size), np.float16)
        interactive = not bulk and len(texts) <= INTERACTIVE_TEXTS
        with self._admitted(len(texts), interactive):
            return await self.batcher.submit("text", texts, interactive)

    async def embed_pictures(self, pictures: list[bytes], bulk: bool) -> Vectors:
        """float16 unit vectors [n, d] of encoded pictures. Raises Overloaded, Unavailable, BadRequest."""
        self.check_ready("image")
        interactive = not bulk and len(pictures) <= INTERACTIVE_PICTURES

        async def part(start: int, stop: int) -> Vectors:
            async with self.arena.slots(stop - start, interactive) as slots:
                decoding = [
                    self._decode_into(slot, raw, interactive)
                    for slot, raw in zip(slots, pictures[start:stop], strict=True)
                ]
                await first_problem(decoding, start)
                return await self.batcher.submit("image", slots, interactive)

        with self._admitted(len(pictures), interactive):
            return await self._in_parts(len(pictures), part)

    async def embed_pixels(self, header: PixelHeader, body: BodyReader, bulk: bool) -> Vectors:
        """float16 unit vectors [n, d] of fitted pixels. Raises Overloaded, Unavailable, BadRequest."""
        self.check_ready("image")
        interactive = not bulk and header.count <= INTERACTIVE_PICTURES
        one_reads = asyncio.Lock()  # parts are received one after the other, in order

        async def part(start: int, stop: int) -> Vectors:
            async with contextlib.AsyncExitStack() as stack:
                async with one_reads:
                    kept = stack.enter_context(self.bytes.hold())
                    size = (stop - start) * self.arena.pixels[0].nbytes
                    quick = await body.prefetch(min(size, PREFETCH_BYTES), kept)
                    if not (quick and self.arena.has(stop - start, interactive)):
                        await body.prefetch(size, kept)  # all of it, before it takes slots that others could use
                    held.grow(stop - start)
                    slots = await stack.enter_async_context(self.arena.slots(stop - start, interactive))
                    with body.hurried(size):
                        for first, last in runs(slots):
                            await body.into(self.arena.bytes_of(first, last))
                    kept.release()
                    if stop == header.count:
                        await body.end()
                return await self.batcher.submit("image", slots, interactive)

        with self._admitted(header.count, interactive, arrived=False) as held:
            return await self._in_parts(header.count, part)

    def _admitted(self, count: int, interactive: bool, arrived: bool = True) -> AbstractContextManager[Hold]:
        """Hold the items of a request, or none yet if they have only been announced. Raises Overloaded, TooLarge."""
        if count > MAX_ITEMS:
            raise TooLarge(f"{count:,} items are too many for one request; send at most {MAX_ITEMS:,}")
        return self.items[interactive].hold(count if arrived else 0)

    async def is_well(self) -> None:
        """One item through the model; all who ask at the same time share it. Raises what the batcher raises."""
        if self._trying is None or self._trying.done():
            self._trying = asyncio.create_task(self._try_out())
        await asyncio.shield(self._trying)

    async def _try_out(self) -> None:
        """One item through the tower that is there. Raises Unavailable and what the batcher raises."""
        if self.engine.model.loaded.towers == "vision":
            self.check_ready("image")
            async with self.arena.slots(1, interactive=True) as slots:
                await self.batcher.submit("image", slots, interactive=True)
        else:
            self.check_ready("text")
            await self.batcher.submit("text", ["health"], interactive=True)

    def check_ready(self, modality: Modality) -> None:
        """Raises Unavailable during warm-up, NotServed for what this service has no tower for."""
        self.engine.model.require(modality)
        if not self.ready:
            raise Unavailable(self.problem)

    async def _decode_into(self, slot: int, raw: bytes, interactive: bool) -> None:
        with metrics.PREPROCESSED.time():
            try:
                decoded = await self.decoders[interactive].call(DecodeRequest(raw, self.want), Decoded)
            except WorkerDied as error:
                seldom.warning("decoder", f"a decoder was lost: a picture {error}")
                raise BadRequest(str(error)) from error
        if decoded.problem is not None:
            raise BadRequest(decoded.problem)
        self.arena.bytes_of(slot, slot + 1)[:] = decoded.pixels

    async def _in_parts(self, count: int, part: Callable[[int, int], Awaitable[Vectors]]) -> Vectors:
        """Call `part(start, stop)` over `count` items, a batch at a time, some at once; raises the first problem."""
        turn = asyncio.Semaphore(PARTS_IN_FLIGHT)

        async def in_turn(start: int) -> Vectors:
            async with turn:
                try:
                    return await part(start, min(start + self.engine.batch, count))
                except NotFinite as error:
                    raise NotFinite(start + error.index) from error

        tasks: list[asyncio.Task[Vectors]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(in_turn(start)) for start in range(0, count, self.engine.batch)]
        except BaseExceptionGroup as problems:
            raise problems.exceptions[0] from None
        return np.concatenate([np.empty((0, self.engine.embedding_size), np.float16), *(t.result() for t in tasks)])


async def first_problem(work: list[Coroutine[Any, Any, None]], offset: int) -> None:
    """Do all of `work`; raises the first BadRequest as one that names its item, counted from `offset`."""
    for i, result in enumerate(await asyncio.gather(*work, return_exceptions=True)):
        if isinstance(result, BadRequest):
            raise BadRequest(f"picture {offset + i} of the list {result}", index=offset + i)
        if isinstance(result, BaseException):
            raise result
