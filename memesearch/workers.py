"""Worker processes that may die: each runs `python -m MODULE` and answers one request at a time.

A request and its answer are MessagePack behind a 4-byte length, on the worker's stdin and stdout.
A worker that dies or takes too long is replaced, and only its own request fails. Workers end by
themselves when their stdin closes, so nothing is left behind when the parent is killed.
"""

import asyncio
import contextlib
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from memesearch.errors import MemeSearchError, Unavailable

LENGTH = struct.Struct("<I")
PIPE_BYTES = 4 * 2**20  # read-ahead of an answer: a few pictures' pixels, so that reading needs few turns of the loop
PROJECT = Path(__file__).resolve().parents[1]
T = TypeVar("T")


class WorkerDied(MemeSearchError):
    """The worker crashed on the request, or was killed because it took too long."""


class WorkerCrashed(WorkerDied):
    """The worker ended in the middle of the request."""


class WorkerSlow(WorkerDied):
    """The worker was killed because it took too long."""


class WorkerPool:
    """`count` workers of one module, started when first needed. Use from one event loop."""

    def __init__(self, module: str, count: int, timeout: float) -> None:
        self._module = module
        self._timeout = timeout
        self._idle: asyncio.LifoQueue[asyncio.subprocess.Process | None] = asyncio.LifoQueue()
        for _ in range(count):
            self._idle.put_nowait(None)
        self._all: set[asyncio.subprocess.Process] = set()
        self._burials: set[asyncio.Task[None]] = set()

    async def call(self, request: Any, answer: type[T]) -> T:
        """Send one request to a free worker.

        Raises:
            WorkerDied: it took too long, or crashed two workers; one alone may have been killed for other reasons.
            Unavailable: no worker can be started at the moment.
        """
        try:
            return await self._call(request, answer)
        except WorkerCrashed:
            return await self._call(request, answer)

    async def _call(self, request: Any, answer: type[T]) -> T:
        worker = await self._idle.get()
        try:
            if worker is not None and worker.returncode is not None:
                self._end(worker)
                worker = None
            if worker is None:
                worker = await self._start()
            answered = await self._exchange(worker, request, answer)
        except BaseException:
            if worker is not None:
                self._end(worker)
            self._idle.put_nowait(None)
            raise
        self._idle.put_nowait(worker)
        return answered

    async def _exchange(self, worker: asyncio.subprocess.Process, request: Any, answer: type[T]) -> T:
        try:
            async with asyncio.timeout(self._timeout):  # not wait_for: Python 3.11's may swallow a cancellation
                return await exchange(worker, msgspec.msgpack.encode(request), answer)
        except TimeoutError as error:
            raise WorkerSlow(f"took longer than {self._timeout:.0f} seconds") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise WorkerCrashed("crashed the decoder") from error

    async def _start(self) -> asyncio.subprocess.Process:
        try:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                self._module,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=PROJECT,
                start_new_session=True,
                limit=PIPE_BYTES,
            )
        except OSError as error:  # too many processes or open files: the machine's trouble, not the request's
            raise Unavailable(f"no worker process can be started: {error.strerror}") from error
        self._all.add(worker)
        return worker

    def _end(self, worker: asyncio.subprocess.Process) -> None:
        self._all.discard(worker)
        if worker.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)  # `kill` would reap it first, and asyncio miss it aloud
        burial = asyncio.create_task(bury(worker))
        self._burials.add(burial)
        burial.add_done_callback(self._burials.discard)

    async def close(self) -> None:
        """Kill the workers; what they were doing is lost."""
        for worker in list(self._all):
            self._end(worker)
        await asyncio.gather(*self._burials)


async def bury(worker: asyncio.subprocess.Process) -> None:
    """Wait for a killed worker to end and close the pipes to it."""
    await worker.wait()
    if worker.stdin is not None:
        worker.stdin.close()
        with contextlib.suppress(ConnectionError):
            await worker.stdin.wait_closed()


async def exchange(worker: asyncio.subprocess.Process, body: bytes, answer: type[T]) -> T:
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(LENGTH.pack(len(body)) + body)
    await worker.stdin.drain()
    (length,) = LENGTH.unpack(await worker.stdout.readexactly(LENGTH.size))
    return msgspec.msgpack.decode(await worker.stdout.readexactly(length), type=answer)


def answer_requests(handle: Callable[[Any], Any], request: type[Any], niceness: int, memory_bytes: int) -> None:
    """The worker's side: answer requests from stdin until it closes."""
    os.nice(niceness)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not disturb the answers
    while header := requests.read(LENGTH.size):
        (length,) = LENGTH.unpack(header)
        body = msgspec.msgpack.encode(handle(msgspec.msgpack.decode(requests.read(length), type=request)))
        answers.write(LENGTH.pack(len(body)) + body)
        answers.flush()
