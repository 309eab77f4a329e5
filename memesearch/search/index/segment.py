"""A sealed part of a compact index: short codes in memory to find candidates, exact vectors in a mapped file.

The codes are FAISS's IVF with RaBitQ and fast scanning. FAISS corrupts such an index silently when vectors are added
after others were removed, so nothing is ever added to a segment: rows that go are only marked, in a bit each.
Rows lie in the order of their ids.

RaBitQ: Gao and Long, "RaBitQ: Quantizing High-Dimensional Vectors with a Theoretical Error Bound", SIGMOD 2024.
"""

import shutil
from pathlib import Path
from typing import Any

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.search.index.base import PART_BITS, PARTS, Among, Found, Ids
from memesearch.search.index.files import Unusable, checksum
from memesearch.search.index.rows import Vectors, best_first, scores_of, selector

FORMAT = 1
QUERY_BITS = 8  # to which FAISS rounds a query while it scans codes
FEW_ROWS = 4096  # a filter that keeps no more is answered from the exact vectors alone
Bits = NDArray[np.uint8]


class SegmentInfo(msgspec.Struct):
    """What `segment.json` says; `sums` are BLAKE2b sums of the small files."""

    format: int
    dimensions: int
    rows: int
    bits: int
    sums: dict[str, str]


class Segment:
    """An opened segment. Changes need exclusion, searches do not."""

    def __init__(self, folder: Path, dimensions: int, alive: Bits | None = None) -> None:
        """Raises Unusable."""
        self.folder = folder
        self.info = read_info(folder, dimensions)
        rows = self.info.rows
        self.ids: Ids = np.memmap(folder / "ids.i64", np.int64, "r", shape=(rows,))
        self.vectors: Vectors = np.memmap(folder / "vectors.f16", np.float16, "r", shape=(rows, dimensions))
        self.codes: Any = read_codes(folder / "codes.faiss")
        self.alive = all_alive(rows) if alive is None else alive
        if len(self.alive) != len(all_alive(rows)):
            raise Unusable(f"{folder.name}: the list of rows that are alive has a wrong length")
        mask = self.mask()
        self.rows_alive = int(np.count_nonzero(mask))
        self.contents_alive = int(np.count_nonzero(self.ids[mask] % PARTS == 0))
        self._code_bytes = (folder / "codes.faiss").stat().st_size

    def mask(self) -> NDArray[np.bool_]:
        """bool [rows]: which are alive."""
        return np.unpackbits(self.alive, count=self.info.rows, bitorder="little").view(bool)

    def memory_bytes(self) -> int:
        return self._code_bytes + self.alive.nbytes

    def disk_bytes(self) -> int:
        return self._code_bytes + self.ids.nbytes + self.vectors.nbytes

    def rows_of(self, contents: Ids) -> Ids:
        """Rows of all parts of these contents, dead ones too."""
        first = np.searchsorted(self.ids, contents * PARTS)
        counts = np.searchsorted(self.ids, (contents + 1) * PARTS) - first
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows: Ids = np.repeat(first, counts) + offsets
        return rows

    def kill(self, contents: Ids) -> None:
        """Mark all rows of these contents as gone."""
        rows = self.rows_of(contents)
        rows = rows[self._lives(rows)]
        if len(rows):
            np.bitwise_and.at(self.alive, rows >> 3, ~(np.uint8(1) << (rows & 7).astype(np.uint8)))
            self.rows_alive -= len(rows)
            self.contents_alive -= int(np.count_nonzero(self.ids[rows] % PARTS == 0))

    def candidates(
        self, query: NDArray[np.float32], rotated: NDArray[np.float32], count: int, share: float, among: Among | None
    ) -> tuple[NDArray[np.float32], Ids]:
        """Rows worth an exact look with their estimated scores: at most `count`, best first.

        Args:
            query: float32 [d]; `rotated` is it as the codes see it.
            share: of the lists that is looked through, 0 to 1.
        """
        alive, probes = self.alive, max(1, round(share * self.codes.nlist))
        if among is not None:
            if len(among) <= FEW_ROWS:
                rows = self.rows_of(among.contents)
                return self._ranked(rows[self._lives(rows)], query, count)
            mask = among.mask(self.ids >> PART_BITS) & self.mask()
            kept = int(np.count_nonzero(mask))
            if kept <= FEW_ROWS:
                return self._ranked(np.flatnonzero(mask), query, count)
            alive = np.packbits(mask, bitorder="little")
            # what is kept lies further apart, so that the best are spread over more lists
            probes = int(probes * (self.info.rows / kept) ** 0.5)
        parameters = faiss.IVFRaBitQSearchParameters()
        parameters.nprobe, parameters.qb = min(probes, self.codes.nlist), QUERY_BITS
        if self.rows_alive < self.info.rows or among is not None:
            allowed = selector(alive)
            parameters.sel = allowed
        scores, rows = self.codes.search(rotated.reshape(1, -1), min(count, self.info.rows), params=parameters)
        found = rows[0] >= 0
        return scores[0][found], rows[0][found]

    def _lives(self, rows: Ids) -> NDArray[np.bool_]:
        bits: NDArray[np.bool_] = (self.alive[rows >> 3] >> (rows & 7)) & 1 == 1
        return bits

    def _ranked(self, rows: Ids, query: NDArray[np.float32], count: int) -> tuple[NDArray[np.float32], Ids]:
        scores = scores_of(self.vectors, rows, query)
        order = best_first(scores, count)
        return scores[order], rows[order]


def best_of(
    segments: list[Segment], found: list[tuple[NDArray[np.float32], Ids]], query: NDArray[np.float32], count: int
) -> Found:
    """Exact scores and ids of the best `count`, by their estimates, of the candidates that each segment has `found`."""
    owners = np.repeat(np.arange(len(found)), [len(rows) for _, rows in found])
    estimates, rows = (np.concatenate(column) for column in zip(*found, strict=True))
    chosen = best_first(estimates, count)
    owners, rows = owners[chosen], rows[chosen]
    scores, ids = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
    for number, segment in enumerate(segments):
        mine = np.flatnonzero(owners == number)
        scores[mine] = scores_of(segment.vectors, rows[mine], query)
        ids[mine] = segment.ids[rows[mine]]
    return scores, ids


def just_built(folder: Path, dimensions: int) -> Segment:
    """A new segment. Raises OSError, and removes it, when it is not what should have been built."""
    try:
        return Segment(folder, dimensions)
    except Unusable as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise OSError(f"a part of the index was not built well: {error}") from error


def all_alive(rows: int) -> Bits:
    return np.packbits(np.ones(rows, bool), bitorder="little")


def read_bits(path: Path, expected: str) -> NDArray[np.uint8]:
    """Raises Unusable, also when the sum is not the `expected` one."""
    try:
        if checksum(path) != expected:
            raise Unusable(f"{path.name} is damaged")
        return np.fromfile(path, np.uint8)
    except OSError as error:
        raise Unusable(f"{path.name}: {error}") from error


def read_codes(path: Path) -> Any:
    """Raises Unusable."""
    try:
        return faiss.read_index(str(path))
    except RuntimeError as error:
        raise Unusable(f"{path.parent.name}: {path.name}: {error}") from error


def read_info(folder: Path, dimensions: int) -> SegmentInfo:
    """Check a segment's files against what it says of them. Raises Unusable."""
    try:
        info = msgspec.json.decode((folder / "segment.json").read_bytes(), type=SegmentInfo)
        if info.format != FORMAT:
            raise Unusable(f"{folder.name} was made by another version (format {info.format}, here {FORMAT})")
        if info.dimensions != dimensions:
            raise Unusable(f"{folder.name} holds vectors of {info.dimensions} numbers, not {dimensions}")
        size = (folder / "vectors.f16").stat().st_size
        if size != info.rows * dimensions * 2:
            raise Unusable(f"{folder.name}: vectors.f16 has {size:,} bytes, not {info.rows * dimensions * 2:,}")
        for name, expected in info.sums.items():
            if checksum(folder / name) != expected:
                raise Unusable(f"{folder.name}: {name} is damaged")
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Unusable(f"{folder.name}: {error}") from error
    return info
