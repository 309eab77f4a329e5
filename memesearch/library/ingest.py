"""The indexing pipeline: files on disk become searchable rows of the store.

Stages with bounded queues between them: hash, decode (worker processes), embed (the service),
store (a batch a transaction). The service is kept busy by several batches in flight; memory is bounded
by what waits for it. Killing any process loses at most the batches in flight.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import msgspec

from memesearch import wire
from memesearch.clip.client import ClipClient, ModelChanged
from memesearch.content_hash import hash_stream
from memesearch.errors import BadRequest, MemeSearchError, Overloaded, Unavailable
from memesearch.library.decode_worker import MAX_FILE_BYTES, Decoded, DecodeRequest
from memesearch.library.old_vectors import OldVectors
from memesearch.library.progress import Progress
from memesearch.library.ready import Prepared, Ready
from memesearch.library.records import Failure, FileStat
from memesearch.library.store import Store
from memesearch.picture import Preprocessing
from memesearch.workers import WorkerDied, WorkerPool, WorkerSlow

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 10.0  # a service that restarts behind a proxy is soon back; after that the run is given up
BUSY_SECONDS = 5.0  # of answers that the service has too much to do, before that is shown
LINKS_AT_ONCE, FAILURES_AT_ONCE = 256, 100  # in a transaction; the index follows each


class Limits(msgspec.Struct, frozen=True):
    """How much is done at once: decoding processes, and requests at the service (0: what it advises)."""

    decoders: int
    requests_in_flight: int = 0


class Ingest:
    """One run over a list of files, for one model."""

    def __init__(
        self,
        root: Path,
        store: Store,
        client: ClipClient,
        decoders: WorkerPool,
        limits: Limits,
        progress: Progress,
        stored: Callable[[], Awaitable[None]],
    ) -> None:
        """`stored` is awaited after each transaction, to bring the index up to date."""
        self._root, self._store, self._client = root, store, client
        self._decoders, self._limits = decoders, limits
        self._progress, self._stored = progress, stored
        self._same_bytes: dict[bytes, list[FileStat]] = {}  # files waiting for one content to be embedded
        self._failures: list[Failure] = []
        self._links: list[tuple[FileStat, int]] = []

    async def run(self, files: list[FileStat], config: wire.ServiceConfig, model: int) -> None:
        """Make `files` searchable or record why not; what was stored stays, also when this raises.

        Raises:
            ModelChanged: the service switched to another model.
            Unavailable: the service has not answered for PATIENCE_SECONDS, or the database cannot be written.
        """
        self._config, self._model = config, model
        self._old = OldVectors(self._store, config.embedding_size)
        await self._old.load(files, self._embed_alone)
        parallel = self._limits.requests_in_flight or config.parallel
        self._ready = Ready(config.batch, parallel)
        todo = iter(files)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._prepare_all(todo))
                for _ in range(parallel):
                    group.create_task(self._embed_batches())
        except BaseExceptionGroup as group_error:
            raise first_of(group_error) from None
        finally:
            await self._store_links()
            await self._store_failures()

    async def link_known(self, files: list[FileStat], model: int) -> set[str]:
        """Without the service: make those of `files` searchable whose bytes are known already.

        Returns:
            The paths that were.
        """
        linked = []
        for file in files:
            digest = None
            with contextlib.suppress(OSError):
                digest = await asyncio.to_thread(hash_file, self._root / file.path)
            content_id = None if digest is None else await self._store.content_of(digest, model)
            if content_id is not None:
                linked.append((file, content_id))
            self._progress.advance(1)
        if linked:
            await self._store.link(linked)
            await self._stored()
        return {file.path for file, _ in linked}

    async def _prepare_all(self, todo: Iterator[FileStat]) -> None:
        async def prepare_some() -> None:
            for file in todo:
                await self._prepare(file)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._limits.decoders + 1):  # one more than workers, so that hashing overlaps decoding
                group.create_task(prepare_some())
        await self._ready.end()

    async def _prepare(self, file: FileStat) -> None:
        """Hash one file; link it if its content is known, else decode it and queue it for the model."""
        try:
            digest = await asyncio.to_thread(hash_file, self._root / file.path)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                await self._fail([Failure(file, f"cannot be read: {error.strerror}", lasting=False)])
            self._progress.advance(1)
            return
        if digest is None:
            await self._fail([Failure(file, f"is larger than {MAX_FILE_BYTES:,} bytes")])
            self._progress.advance(1)
            return
        if digest in self._same_bytes:
            self._same_bytes[digest].append(file)
            return
        self._same_bytes[digest] = [file]
        content_id = await self._store.content_of(digest, self._model)
        if content_id is not None:
            self._links += [(same, content_id) for same in self._same_bytes.pop(digest)]
            if len(self._links) >= LINKS_AT_ONCE:
                await self._store_links()
            return
        await self._decode(file, digest)

    async def _decode(self, file: FileStat, digest: bytes) -> None:
        decoded = await self._decoded(file, digest)
        if decoded.content is None:
            files = self._same_bytes.pop(digest)
            if decoded.problem is not None:
                await self._fail([Failure(same, decoded.problem, decoded.lasting) for same in files])
            self._progress.advance(len(files))
            return
        if (vector := await self._old.vector(file)) is not None:
            await self._add([(Prepared(decoded.content, []), [vector])])
            return
        await self._ready.put(Prepared(decoded.content, decoded.frames))

    async def _decoded(self, file: FileStat, digest: bytes) -> Decoded:
        want = Preprocessing(
            *self._config.image_size, self._config.resize_mode, self._config.interpolation, self._config.fill_color
        )
        try:
            return await self._decoders.call(DecodeRequest(str(self._root / file.path), digest, want), Decoded)
        except WorkerDied as error:
            return Decoded(problem=str(error), lasting=not isinstance(error, WorkerSlow))

    async def _embed_alone(self, file: FileStat) -> bytes | None:
        """The vector of a file's first frame; None when it cannot be had."""
        try:
            digest = await asyncio.to_thread(hash_file, self._root / file.path)
            decoded = await self._decoded(file, digest) if digest is not None else Decoded()
            return (await self._embed_steadily(decoded.frames[:1]))[0] if decoded.frames else None
        except (OSError, BadRequest):
            return None

    async def _embed_batches(self) -> None:
        while batch := await self._ready.take():
            vectors = await self._embed(batch)
            await self._ready.done()
            await self._add([(item, rows) for item, rows in zip(batch, vectors, strict=True) if rows])

    async def _embed(self, batch: list[Prepared]) -> list[list[bytes]]:
        """Vectors of each item's frames; an empty list for an item that the service refuses."""
        left = list(batch)
        while left:
            flat = [frame for item in left for frame in item.frames]
            try:
                vectors = iter(await self._embed_steadily(flat))
            except BadRequest as error:
                if error.index is None and len(left) > 1:  # it does not say which one: halve until it is clear
                    middle = len(left) // 2
                    rows = await self._embed(left[:middle]) + await self._embed(left[middle:])
                    by_item = dict(zip(map(id, left), rows, strict=True))
                    return [by_item.get(id(item), []) for item in batch]
                culprits = [item for item in left if owns(item, left, error.index)] or left
                for item in culprits:
                    files = self._same_bytes.pop(item.content.hash, [])
                    await self._fail([Failure(file, str(error), model=self._model) for file in files])
                    self._progress.advance(len(files))
                left = [item for item in left if item not in culprits]
                continue
            embedded = {id(item): [next(vectors) for _ in item.frames] for item in left}
            return [embedded.get(id(item), []) for item in batch]
        return [[] for _ in batch]

    async def _embed_steadily(self, frames: list[bytes]) -> list[bytes]:
        """Try again while the service is busy, and for a while when it is away. Raises what `run` says."""
        assert self._config.model_id is not None
        loop = asyncio.get_running_loop()
        started = loop.time()
        give_up = started + PATIENCE_SECONDS
        while True:
            try:
                vectors = await self._client.embed_pixels(frames, self._config.model_id)
                self._progress.go_on()
                return vectors
            except Overloaded as error:
                give_up = loop.time() + PATIENCE_SECONDS
                if loop.time() > started + BUSY_SECONDS:
                    self._progress.wait(str(error))
            except Unavailable as error:
                if loop.time() > give_up:
                    raise
                self._progress.wait(str(error))
            await asyncio.sleep(1)
            with contextlib.suppress(Unavailable):
                config = await self._client.refresh()
                if config.model_id != self._config.model_id:
                    raise ModelChanged(f"the embedding service came back with {config.model_id}")

    async def _add(self, embedded: list[tuple[Prepared, list[bytes]]]) -> None:
        rows = [(item.content, vectors, self._same_bytes.pop(item.content.hash, [])) for item, vectors in embedded]
        files = [file for _, _, same in rows for file in same]
        if rows:
            await self._store.add(self._model, rows)
            await self._old.forget(files)
        await self._done(len(files))

    async def _done(self, count: int) -> None:
        self._progress.advance(count)
        await self._stored()

    async def _fail(self, failures: list[Failure]) -> None:
        for failure in failures:
            log.warning("skipping %r: %s", failure.file.path, failure.reason)
        self._failures += failures
        if len(self._failures) >= FAILURES_AT_ONCE:
            await self._store_failures()

    async def _store_failures(self) -> None:
        failures, self._failures = self._failures, []
        if failures:
            await self._store.fail(failures)
            await self._stored()

    async def _store_links(self) -> None:
        links, self._links = self._links, []
        if links:
            await self._store.link(links)
            await self._done(len(links))


def hash_file(path: Path) -> bytes | None:
    """BLAKE2b-128 of a file's bytes; None when it is too large to be a picture."""
    if path.stat().st_size > MAX_FILE_BYTES:
        return None
    with path.open("rb") as file:
        return hash_stream(file)


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group, however deep; an unexpected one is not hidden behind an expected one."""
    leaves = list(leaves_of(group))
    return next((leaf for leaf in leaves if not isinstance(leaf, MemeSearchError)), leaves[0])


def leaves_of(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves_of(inner)
    else:
        yield error


def owns(item: Prepared, items: list[Prepared], index: int | None) -> bool:
    """Whether frame number `index` of all `items`' frames in a row is one of `item`."""
    if index is None:
        return False
    for other in items:
        if index < len(other.frames):
            return other is item
        index -= len(other.frames)
    return False
