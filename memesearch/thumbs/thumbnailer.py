"""Keeps a folder of thumbnails in step with the library.

The folder and the library are compared by the hashes of the pictures' bytes, 1/256 of them at a time, so that
memory stays small: what is missing is made, what belongs to no picture any more is deleted. A run that is killed
leaves whole files only, and the next one goes on.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path

import msgspec

from memesearch.errors import MemeSearchError, Unavailable
from memesearch.library.progress import Progress
from memesearch.library.store import Store
from memesearch.thumbs.folder import SHARDS, check, correct_links, list_shard, locked, remove
from memesearch.thumbs.formats import GRID, Format
from memesearch.thumbs.state import Failure, ThumbnailState
from memesearch.thumbs.worker import Made, MakeRequest
from memesearch.workers import WorkerDied, WorkerPool

PICTURE_SECONDS = 300.0
STORE_EVERY = 64  # pictures


class Unwritable(MemeSearchError):
    """The disk is full or something else is wrong with the folder; what was made stays."""


class Job(msgspec.Struct):
    """A picture and the formats that it lacks."""

    digest: bytes
    path: str
    formats: list[str]


class Summary(msgspec.Struct):
    """What one run did, in files; `changed` counts pictures that went or changed since they were indexed."""

    pictures: int = 0
    there: int = 0
    missing: int = 0
    made: int = 0
    removed: int = 0
    failed: int = 0
    changed: int = 0
    interrupted: bool = False


class Thumbnailer:
    """Makes `kinds` of all pictures of the library below `root`."""

    def __init__(self, store: Store, root: Path, output: Path, kinds: Sequence[Format], workers: int) -> None:
        self.progress = Progress()
        self._store, self._root, self._output = store, root, output
        self._kinds = list(kinds)
        self._count = workers
        self._workers = WorkerPool("memesearch.thumbs.worker", workers, PICTURE_SECONDS)

    async def close(self) -> None:
        await self._workers.close()

    async def run(self, may_go_on: Callable[[], bool] = lambda: True) -> Summary:
        """One pass over everything, the size for the grid first.

        Args:
            may_go_on: asked before each picture; False ends the run, so that the folder is free for others.
        Raises:
            Busy: another run is at work. Unwritable: the disk is full. Unavailable: a folder or a database cannot be
                used. ConfigError: the folder is not one for thumbnails.
        """
        if not os.path.isdir(self._root):
            raise Unavailable(f"the folder {self._root} cannot be read")
        check(self._output, self._root)
        try:
            with locked(self._output):
                async with ThumbnailState.open(self._output) as state:
                    return await self._run(state, may_go_on)
        except OSError as error:
            raise Unwritable(f"{error.filename or self._output} cannot be used: {error.strerror or error}") from error
        finally:
            self.progress.finish()

    async def _run(self, state: ThumbnailState, may_go_on: Callable[[], bool]) -> Summary:
        summary = Summary()
        self.progress.start("comparing", SHARDS)
        removing = (await self._store.counts())["files"] > 0  # an empty library is more likely a disk that is away
        lacking = set()
        for shard in range(SHARDS):
            if await self._compare(state, shard, summary, removing):
                lacking.add(shard)
            self.progress.advance(1)
        self.progress.start("thumbnails", summary.missing)
        for kinds in ([k for k in self._kinds if k.name == GRID], [k for k in self._kinds if k.name != GRID]):
            if kinds:
                await self._make_all(state, sorted(lacking), kinds, summary, may_go_on)
        summary.failed = len(await state.failures())
        return summary

    async def _compare(self, state: ThumbnailState, shard: int, summary: Summary, removing: bool) -> bool:
        """Delete what is nobody's, correct what the database says; returns whether something is missing."""
        low, high = bounds(shard)
        listing = await asyncio.to_thread(list_shard, self._output, shard)
        pictures = dict(await self._store.contents_between(low, high))
        gone = listing.files.keys() - pictures.keys() if removing else set()
        for digest in gone:
            summary.removed += await asyncio.to_thread(remove, listing, digest)
        if listing.links:
            sources = {digest: str(self._root / path) for digest, path in pictures.items()}
            await asyncio.to_thread(correct_links, listing, sources)
        noted = await state.made(low, high)
        put = {digest: names for digest, names in listing.formats.items() if noted.get(digest) != names}
        put |= {digest: set() for digest in noted.keys() - listing.formats.keys()}
        if put:
            await state.put(put)
        failed = await state.failed(low, high)
        if removing:
            await state.forget_failures(low, high, pictures)
        summary.pictures += len(pictures)
        nothing: set[str] = set()
        names = {kind.name for kind in self._kinds}
        there = [names & listing.formats.get(digest, nothing) for digest in pictures]
        missing = [names - found - failed.get(digest, nothing) for digest, found in zip(pictures, there, strict=True)]
        summary.there += sum(map(len, there))
        summary.missing += sum(map(len, missing))
        return any(missing)

    async def _jobs(
        self, state: ThumbnailState, shards: Sequence[int], kinds: Sequence[Format]
    ) -> AsyncGenerator[Job, None]:
        for shard in shards:
            low, high = bounds(shard)
            there = (await asyncio.to_thread(list_shard, self._output, shard)).formats
            failed = await state.failed(low, high)
            for digest, path in await self._store.contents_between(low, high):
                done = there.get(digest, set()) | failed.get(digest, set())
                if missing := [kind.name for kind in kinds if kind.name not in done]:
                    yield Job(digest, path, missing)

    async def _make_all(
        self,
        state: ThumbnailState,
        shards: Sequence[int],
        kinds: Sequence[Format],
        summary: Summary,
        may_go_on: Callable[[], bool],
    ) -> None:
        jobs = self._jobs(state, shards, kinds)
        taking, storing = asyncio.Lock(), asyncio.Lock()
        done: list[tuple[Job, Made]] = []

        async def take() -> Job | None:
            async with taking:
                return await anext(jobs, None)

        async def store() -> None:
            async with storing:
                batch = done.copy()
                done.clear()
                await self._note(state, batch)

        async def work() -> None:
            while job := await take():
                if not may_go_on():
                    summary.interrupted = True
                    return
                made = await self._make(job)
                done.append((job, made))
                summary.made += len(made.made)
                summary.changed += made.changed
                self.progress.advance(len(job.formats))
                if made.trouble:
                    raise Unwritable(f"{made.trouble}; what was made stays, and the next run goes on")
                if len(done) >= STORE_EVERY:
                    await store()

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._count):
                    group.create_task(work())
        except BaseExceptionGroup as problems:
            raise problems.exceptions[0] from None
        finally:
            await jobs.aclose()
            await store()

    async def _make(self, job: Job) -> Made:
        request = MakeRequest(str(self._root / job.path), job.digest, str(self._output), job.formats)
        try:
            return await self._workers.call(request, Made)
        except WorkerDied as error:
            if len(job.formats) == 1:
                return Made(problems={job.formats[0]: f"the worker {error}"}, lasting=False)
        together = Made()  # one format after the other, to find which one it was
        for name in job.formats:
            made = await self._make(Job(job.digest, job.path, [name]))
            together.made += made.made
            together.problems |= made.problems
            together.lasting &= made.lasting
            together.changed, together.trouble = made.changed, made.trouble
            if made.changed or made.trouble:
                break
        return together

    async def _note(self, state: ThumbnailState, batch: Sequence[tuple[Job, Made]]) -> None:
        """Enter what was made beside what was there before."""
        put: dict[bytes, set[str]] = {}
        failures = []
        for job, made in batch:
            if made.made:
                before = await state.made(job.digest, job.digest + b"\0")
                put[job.digest] = before.get(job.digest, set()) | set(made.made)
            failures += [
                Failure(job.digest, name, job.path, reason, made.lasting) for name, reason in made.problems.items()
            ]
        if put or failures:
            await state.put(put, failures)


def bounds(shard: int) -> tuple[bytes, bytes]:
    """The hashes of one shard: from the first to below the second."""
    return bytes([shard]), bytes([shard + 1]) if shard < SHARDS - 1 else b"\xff" * 17
