"""Makes one segment out of others, or out of rows that were written down: sealing and merging.

    python -m memesearch.search.index.build JOB.json

Started by compact.py, at a low priority and in a process of its own, so that searches go on at full speed and the
memory is given back. Progress goes to stdout, a line of JSON each; the segment appears under its name when it is whole.
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.durable import synchronise
from memesearch.machine import end_with_parent
from memesearch.search.index.base import Ids
from memesearch.search.index.files import checksum, write_array
from memesearch.search.index.plan import TRAINING_ROWS, lists_for
from memesearch.search.index.rows import Vectors
from memesearch.search.index.segment import FORMAT, SegmentInfo

AT_ONCE = 8192  # rows
PER_LIST = 40  # rows that a centroid is trained on, where there are enough
ROUNDS = 8  # of k-means
NICENESS = 10
SEED = 1
ROTATION = "rotation.f32"

Tell = Callable[[int, int], None]


class Source(msgspec.Struct):
    """Rows to take over: `ids` and `vectors` are files, `alive` one with a bit for each row (None: all)."""

    ids: str
    vectors: str
    alive: str | None = None


class Job(msgspec.Struct):
    """What to build. `rotation` is a file of float32 [d, d]."""

    target: str
    dimensions: int
    bits: int
    rotation: str
    sources: list[Source]


class Sources:
    """The rows of all sources that are alive, in the order of their ids."""

    def __init__(self, job: Job) -> None:
        self.dimensions = job.dimensions
        self._vectors: list[Vectors] = []
        ids, places = [], []
        for number, source in enumerate(job.sources):
            held = np.fromfile(source.ids, np.int64)
            rows = np.arange(len(held))
            if source.alive is not None:
                bits = np.fromfile(source.alive, np.uint8)
                rows = np.flatnonzero(np.unpackbits(bits, count=len(held), bitorder="little"))
            shape = (len(held), job.dimensions)
            self._vectors.append(
                np.memmap(source.vectors, np.float16, "r", shape=shape) if len(held) else np.empty(shape, np.float16)
            )
            ids.append(held[rows])
            places.append(rows + (number << 40))
        every = np.concatenate(ids)
        order = np.argsort(every, kind="stable")
        self.ids: Ids = every[order]
        self._places = np.concatenate(places)[order]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, chosen: Ids | slice) -> NDArray[np.float16]:
        """float16 [n, d] of rows by their number in the new segment."""
        places = self._places[chosen]
        taken = np.empty((len(places), self.dimensions), np.float16)
        for number, vectors in enumerate(self._vectors):
            mine = np.flatnonzero(places >> 40 == number)
            taken[mine] = vectors[places[mine] & (2**40 - 1)]
        return taken


def build(job: Job, tell: Tell = lambda done, total: None) -> None:
    """Write the segment `job.target`: whole, or not at all; nothing is written when there are no rows.

    Raises:
        OSError: the disk is full or cannot be written; what was written is removed.
    """
    target = Path(job.target)
    sources = Sources(job)
    if not len(sources):
        return
    work = unfinished(target)
    work.mkdir(parents=True)
    try:
        write_segment(work, sources, job, tell)
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        raise
    work.rename(target)
    synchronise(target.parent)


def unfinished(target: Path) -> Path:
    """The folder of a segment that is being built."""
    return target.with_name("building-" + target.name)


def write_segment(folder: Path, sources: Sources, job: Job, tell: Tell) -> None:
    rotation = np.fromfile(job.rotation, np.float32).reshape(job.dimensions, job.dimensions)
    write_array(folder / "ids.i64", sources.ids)
    codes = trained(sources, rotation, job.bits)
    with (folder / "vectors.f16").open("wb") as file:
        for start, vectors in pieces(sources):
            file.write(vectors.tobytes())
            codes.add(rotated(vectors, rotation))
            tell(start + len(vectors), len(sources))
    write_codes(codes, folder / "codes.faiss")
    sums = {name: checksum(folder / name) for name in ("ids.i64", "codes.faiss", f"../{ROTATION}")}
    info = SegmentInfo(FORMAT, job.dimensions, len(sources), job.bits, sums)
    (folder / "segment.json").write_bytes(msgspec.json.encode(info))
    synchronise(*folder.iterdir(), folder)


def write_codes(codes: faiss.IndexIVFRaBitQFastScan, path: Path) -> None:
    """Raises OSError. FAISS's own writing to a file does not tell when the last bytes find no room."""
    with path.open("wb") as file:
        faiss.write_index(codes, faiss.PyCallbackIOWriter(file.write))  # type: ignore[attr-defined]


def pieces(sources: Sources) -> Iterator[tuple[int, NDArray[np.float16]]]:
    for start in range(0, len(sources), AT_ONCE):
        yield start, sources.take(slice(start, start + AT_ONCE))


def rotated(vectors: NDArray[Any], rotation: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [n, d] as the codes see vectors: a random rotation makes every number weigh the same."""
    return np.ascontiguousarray(vectors.astype(np.float32) @ rotation.T)


def rotation_in(folder: Path, dimensions: int) -> NDArray[np.float32]:
    """The folder's random rotation [d, d], the same for all segments there; made where there is no sound one."""
    path = folder / ROTATION
    if path.exists() and is_rotation(kept := np.fromfile(path, np.float32), dimensions):
        return kept.reshape(dimensions, dimensions)
    made, _ = np.linalg.qr(np.random.default_rng(SEED).standard_normal((dimensions, dimensions)))
    write_array(path, made.astype(np.float32))
    return made.astype(np.float32)


def is_rotation(numbers: NDArray[np.float32], dimensions: int) -> bool:
    """Whether these [d * d] turn a vector, and back. With others, codes would be made that find little."""
    if len(numbers) != dimensions**2:
        return False
    matrix, vector = numbers.reshape(dimensions, dimensions), np.random.default_rng(SEED).standard_normal(dimensions)
    with np.errstate(all="ignore"):
        return bool(np.allclose(matrix.T @ (matrix @ vector), vector, rtol=0, atol=1e-3))


def trained(sources: Sources, rotation: NDArray[np.float32], bits: int) -> faiss.IndexIVFRaBitQFastScan:
    """An index without vectors whose lists suit these rows."""
    lists = lists_for(len(sources))
    wanted = min(len(sources), max(lists * PER_LIST, 1000), TRAINING_ROWS)
    chosen = np.sort(np.random.default_rng(SEED).choice(len(sources), wanted, replace=False))
    sample = np.concatenate(
        [rotated(sources.take(chosen[start : start + AT_ONCE]), rotation) for start in range(0, wanted, AT_ONCE)]
    )
    means: Any = faiss.Kmeans(
        sources.dimensions, lists, niter=ROUNDS, seed=SEED, min_points_per_centroid=1, max_points_per_centroid=10**9
    )
    means.train(sample)
    nearest = faiss.IndexFlatIP(sources.dimensions)
    nearest.add(means.centroids)
    codes = faiss.IndexIVFRaBitQFastScan(nearest, sources.dimensions, lists, faiss.METRIC_INNER_PRODUCT, 32, True, bits)
    codes.train(sample)
    return codes


def main(arguments: list[str]) -> int:
    os.nice(NICENESS)
    end_with_parent(signal.SIGKILL)
    job = msgspec.json.decode(Path(arguments[1]).read_bytes(), type=Job)

    def tell(done: int, total: int) -> None:
        print(msgspec.json.encode([done, total]).decode(), flush=True)

    try:
        build(job, tell)
    except OSError as error:
        print(error.strerror or error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
