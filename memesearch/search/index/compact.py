"""Millions of vectors on one machine: sealed segments of short codes, and a mutable part searched exactly.

New vectors go to the mutable part; when that is full it is sealed into a segment, and segments are merged, by
processes beside this one; the result takes their place in one moment. Vectors that go are only marked. A search
takes candidates from each segment by its codes and ranks them by their exact vectors, which lie in mapped files.
"""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memesearch.search.index.base import (
    PARTS,
    Among,
    Effort,
    Found,
    Ids,
    QueryKind,
    Snapshot,
    Stats,
    best_parts,
    nothing,
    written_for,
)
from memesearch.search.index.build import ROTATION, Job, Source, Tell, rotated, rotation_in, unfinished
from memesearch.search.index.builder import Builder
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.files import Sealed, checksum, new_name, write_array
from memesearch.search.index.lock import ReadersWriterLock
from memesearch.search.index.merging import next_merge
from memesearch.search.index.plan import RERANKED, Plan, efforts_for
from memesearch.search.index.rows import best_first
from memesearch.search.index.segment import Segment, best_of, just_built, read_bits

SPARE = 1.3  # candidates for each result that is wanted, when many are


class CompactIndex:
    """Vectors [d] of contents, in `folder`. Safe to call from any thread."""

    def __init__(
        self, folder: Path, dimensions: int, plan: Plan, build: Callable[[Job, Tell], None] | None = None
    ) -> None:
        """`build` makes segments, in another process unless it is given."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.dimensions, self.plan = folder, dimensions, plan
        reranked = RERANKED[plan.bits]
        self.efforts: dict[QueryKind, Effort] = {"picture": Effort(1 / 32, reranked), "text": Effort(1 / 8, reranked)}
        self.progress: Tell = lambda done, total: None
        self.rotation = rotation_in(folder, dimensions)
        self._builder = Builder()
        self._build = build or self._builder.run
        self._fresh = ExactIndex(dimensions)
        self._frozen: ExactIndex | None = None  # being sealed, or still to be sealed after a failure
        self._segments: list[Segment] = []
        self._gone: dict[str, list[Ids]] = {}  # contents that went while a segment is built, for each that is
        self._retired: set[str] = set()
        self._lock = ReadersWriterLock()
        self._one_seal, self._one_merge = threading.Lock(), threading.Lock()

    def __len__(self) -> int:
        return sum(len(part) for part in self._mutable()) + sum(part.contents_alive for part in self._segments)

    def adopt(self, plan: Plan) -> None:
        """Follow another plan from now on; `maintain` rewrites segments of other bits."""
        if plan.bits != self.plan.bits:
            for kind, effort in self.efforts.items():
                self.efforts[kind] = Effort(effort.share, RERANKED[plan.bits])
        self.plan = plan

    def crowded(self, times: int) -> bool:
        """Whether the mutable part has `times` the size from which it is sealed."""
        return self._fresh.rows >= times * self.plan.mutable_rows

    def trials(self) -> list[Effort]:
        """Efforts to choose from, the cheapest first."""
        return efforts_for(self.plan.bits, self.rows())

    def rows(self) -> int:
        """Vectors that can be found."""
        return sum(part.rows for part in self._mutable()) + sum(part.rows_alive for part in self._segments)

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Add whole contents, `ids` [n] with `vectors` [n, d]; earlier vectors of the same contents go."""
        with self._lock.writing():
            self._kill(np.unique(ids // PARTS))
            self._fresh.add(ids, vectors)

    def remove(self, contents: Ids) -> None:
        """Forget contents."""
        with self._lock.writing():
            self._kill(np.unique(contents))

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        among: Among | None = None,
        kind: QueryKind = "picture",
        effort: Effort | None = None,
    ) -> Found:
        """The `k` contents whose best part has the largest inner product with `query` [d]: scores, contents.

        Every score is exact. Some of the best may be missed; how many depends on `effort`, which is `efforts[kind]`
        unless it is given.
        """
        query = query.astype(np.float32)
        effort = effort or self.efforts[kind]
        with self._lock.reading():
            rows, contents = self.rows(), len(self)
            k = min(k, contents if among is None else len(among))
            if not contents or k <= 0:
                return nothing()
            wanted = min(rows, int(k * rows / contents) + 1)
            while True:
                found = best_parts(*self._best(query, wanted, effort, among), k)
                if len(found[1]) == k or (effort.share >= 1 and wanted >= min(rows, k * PARTS)):
                    return found
                wanted, effort = min(rows, wanted * 4), Effort(min(effort.share * 4, 1.0), effort.reranked)

    def _best(self, query: NDArray[np.float32], wanted: int, effort: Effort, among: Among | None) -> Found:
        """Exact scores and ids of about `wanted` best parts, best first."""
        scores, ids = self._from_segments(query, max(effort.reranked, int(wanted * SPARE)), effort.share, among)
        for part in self._mutable():
            found = part.parts(query, wanted, among)
            scores, ids = np.concatenate([scores, found[0]]), np.concatenate([ids, found[1]])
        order = best_first(scores, wanted)
        return scores[order], ids[order]

    def _from_segments(self, query: NDArray[np.float32], count: int, share: float, among: Among | None) -> Found:
        if not self._segments:
            return nothing()
        unit = query / np.float32(max(float(np.linalg.norm(query)), 1e-30))  # codes have a range
        turned = rotated(unit[None], self.rotation)[0]
        found = [segment.candidates(unit, turned, count, share, among) for segment in self._segments]
        return best_of(self._segments, found, query, count)

    def seal(self, wait: bool = True) -> bool:
        """Make the mutable part a segment if it is full; a merge may go on beside. Raises OSError as `maintain`."""
        if not self._one_seal.acquire(blocking=wait):
            return False
        try:
            with self._lock.writing():
                if self._frozen is None and self._fresh.rows >= self.plan.mutable_rows:
                    self._frozen, self._fresh = self._fresh, ExactIndex(self.dimensions)
                if self._frozen is None:
                    return False
            self._replace([])
            return True
        finally:
            self._one_seal.release()

    def merge(self, growing: bool = False) -> bool:
        """Merge some segments if there is need; says whether it did. Raises OSError as `maintain`."""
        with self._one_merge:
            with self._lock.writing():
                self._drop([segment for segment in self._segments if not segment.rows_alive])
                merged = next_merge(self._segments, self.plan, growing)
            if merged:
                self._replace(merged)
            return bool(merged)

    def maintain(self) -> bool:
        """Seal or merge once if there is need; says whether it did. Searches and changes go on meanwhile.

        Raises:
            OSError: the disk is full or cannot be written; everything is as before, and can be found.
        """
        return self.seal() or self.merge()

    def snapshot_rows(self) -> int:
        """The mutable ones; segments are on disk."""
        return sum(part.rows for part in self._mutable())

    def _replace(self, merged: list[Segment]) -> None:
        """Build a segment of `merged`, or of the frozen part, and put it in their place."""
        name, scratch = new_name("segment"), list[Path]()
        with self._lock.writing():
            self._gone[name] = []
        try:
            sources = self._sources(merged, scratch)
            rotation = str(self.folder / ROTATION)
            self._build(Job(str(self.folder / name), self.dimensions, self.plan.bits, rotation, sources), self.progress)
            built = just_built(self.folder / name, self.dimensions) if (self.folder / name).exists() else None
            early = list(self._gone[name])
            if built is not None and early:  # after a long merge it is much, for which searches need not wait
                built.kill(np.unique(np.concatenate(early)))
            with self._lock.writing():
                self._drop(merged)
                if not merged:
                    self._frozen = None
                if built is not None:
                    for contents in self._gone[name][len(early) :]:
                        built.kill(contents)
                    self._segments.append(built)
        finally:
            with self._lock.writing():
                del self._gone[name]
            shutil.rmtree(unfinished(self.folder / name), ignore_errors=True)  # of a process that was killed
            for path in scratch:
                path.unlink(missing_ok=True)

    def _drop(self, segments: list[Segment]) -> None:
        self._segments = [segment for segment in self._segments if segment not in segments]
        self._retired |= {segment.folder.name for segment in segments}

    def _sources(self, merged: list[Segment], scratch: list[Path]) -> list[Source]:
        """What a build reads; the files among it that are only for it are added to `scratch`. Raises OSError."""
        sources = []
        if not merged and self._frozen is not None:
            rows = self._frozen.write(self.folder)
            scratch += [self.folder / rows.ids, self.folder / rows.vectors]
            sources.append(Source(str(scratch[0]), str(scratch[1])))
        for segment in merged:
            alive = self.folder / new_name("alive")
            with self._lock.reading():
                bits = segment.alive.copy()
            write_array(alive, bits)
            scratch.append(alive)
            sources.append(Source(str(segment.folder / "ids.i64"), str(segment.folder / "vectors.f16"), str(alive)))
        return sources

    def _kill(self, contents: Ids) -> None:
        for part in self._mutable():
            part.remove(contents)
        for segment in self._segments:
            segment.kill(contents)
        for gone in self._gone.values():
            gone.append(contents)

    def _mutable(self) -> list[ExactIndex]:
        return [self._fresh] if self._frozen is None else [self._fresh, self._frozen]

    def snapshot(self, folder: Path) -> Snapshot:
        """Write what is not on disk yet. Segments are; what changes is the mutable part and who is alive.

        Raises:
            OSError: it cannot be written.
        """
        with self._lock.reading():
            mutable = self._mutable()
            segments = [(segment.folder.name, segment.alive.copy()) for segment in self._segments]
        snapshot = Snapshot(kind="compact")
        try:
            for part in mutable:
                snapshot.rows.append(part.write(folder))
            for name, alive in segments:
                sealed = Sealed(name, new_name("alive"), "")
                write_array(folder / sealed.alive, alive)
                sealed.sum = checksum(folder / sealed.alive)
                snapshot.segments.append(sealed)
        except OSError:
            for path in written_for(snapshot):
                (folder / path).unlink(missing_ok=True)
            raise
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Become what a snapshot in this index's own folder says. Raises Unusable."""
        parts = [ExactIndex.read(self.folder, rows, self.dimensions) for rows in snapshot.rows]
        segments = [
            Segment(self.folder / sealed.name, self.dimensions, read_bits(self.folder / sealed.alive, sealed.sum))
            for sealed in snapshot.segments
        ]
        with self._lock.writing():
            self._segments = segments
        for part in parts:
            self.add(*part.copy())

    def take_retired(self) -> set[str]:
        """Names of segments that this index does not need any more; each is told once."""
        with self._lock.writing():
            retired, self._retired = self._retired, set()
        return retired

    def stats(self) -> Stats:
        with self._lock.reading():
            mutable = [part.stats() for part in self._mutable()]
            return Stats(
                "compact",
                len(self),
                self.rows(),
                memory_bytes=sum(part.memory_bytes or 0 for part in mutable)
                + sum(segment.memory_bytes() for segment in self._segments)
                + self.rotation.nbytes,
                disk_bytes=sum(segment.disk_bytes() for segment in self._segments),
                segments=len(self._segments),
                bits=self.plan.bits,
            )

    def interrupt(self) -> None:
        """End the builds that run, for good; they are begun again when the index is opened again."""
        self._builder.stop()

    close = interrupt
