"""What every vector index offers, so that the rest of the program need not know which one answers.

Vectors belong to contents; a content has up to PARTS of them (the frames of an animation) and is found by its best.
An id is content * PARTS + part, with parts numbered from 0 without gaps.
"""

from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from memesearch.search.index.files import Rows, Sealed

PART_BITS = 4
PARTS = 2**PART_BITS
TABLE_LIMIT = 2**28  # content ids up to here are looked up in a table of one byte each

Ids = NDArray[np.int64]
Found = tuple[NDArray[np.float32], Ids]
QueryKind = Literal["text", "picture"]


class Stats(msgspec.Struct):
    """What an index holds and costs, for the status page and metrics.

    Attributes:
        kind: exact, compact or milvus.
        memory_bytes: what the index itself keeps in memory; None where another program keeps it.
        disk_bytes: of its files, beside the database.
        segments: sealed parts that one search asks, the mutable part not counted.
        bits: of memory for each number of a vector.
    """

    kind: str
    contents: int
    vectors: int
    memory_bytes: int | None
    disk_bytes: int = 0
    segments: int = 0
    bits: int = 16


class Effort(msgspec.Struct, frozen=True):
    """How far a search looks.

    Attributes:
        share: of each segment's lists, 0 to 1.
        reranked: candidates whose exact score is computed.
    """

    share: float
    reranked: int


class Among:
    """A filter: only these contents may be found. `contents` [n] are unique and ascending."""

    def __init__(self, contents: Ids) -> None:
        self.contents = contents
        self._table: NDArray[np.bool_] | None = None
        if len(contents) and contents[-1] < TABLE_LIMIT:
            self._table = np.zeros(int(contents[-1]) + 2, bool)
            self._table[contents] = True

    def __len__(self) -> int:
        return len(self.contents)

    def mask(self, contents: Ids) -> NDArray[np.bool_]:
        """bool [n]: which of `contents` [n] pass."""
        if self._table is None:
            return np.isin(contents, self.contents)
        return self._table[np.minimum(contents, len(self._table) - 1)]


class Snapshot(msgspec.Struct, kw_only=True):
    """Names of the files that together are an index; `keeper.py` keeps them.

    Attributes:
        rows: ids and vectors of what can change in place.
        segments: sealed parts.
    """

    kind: str
    rows: list[Rows] = []
    segments: list[Sealed] = []


def written_for(snapshot: Snapshot) -> set[str]:
    """Files that were written for this snapshot alone: all but its segments."""
    rows = {name for rows in snapshot.rows for name in (rows.ids, rows.vectors)}
    return rows | {sealed.alive for sealed in snapshot.segments}


class VectorIndex(Protocol):
    """Safe to call from any thread. Vectors are float16 [n, d] of unit norm, scores are inner products.

    Attributes:
        efforts: how far a search looks for each kind of query; empty where every search looks at everything.
    """

    dimensions: int
    efforts: dict[QueryKind, Effort]

    def __len__(self) -> int:
        """Contents that can be found."""

    def add(self, ids: Ids, vectors: NDArray[np.float16]) -> None:
        """Add whole contents; what was known of them before is replaced, in the same moment for every search."""

    def remove(self, contents: Ids) -> None:
        """Forget contents; unknown ones are fine."""

    def search(
        self,
        query: NDArray[np.float32],
        k: int,
        among: Among | None = None,
        kind: QueryKind = "picture",
        effort: Effort | None = None,
    ) -> Found:
        """The `k` contents whose best part has the largest inner product with `query` [d]: scores, contents.

        `kind` says where the query comes from: texts lie further from pictures than pictures from each other, and
        an approximate index has to look further for them. `effort` takes the place of `efforts[kind]`.
        """

    def trials(self) -> list[Effort]:
        """Efforts to choose from, the cheapest first; none where there is nothing to choose."""

    def crowded(self, times: int) -> bool:
        """Whether changes wait to be tended, `times` as many as there should be."""

    def seal(self, wait: bool = True) -> bool:
        """Bring changes that wait into their final place, if they are many; says whether it did.

        While another thread does so, this waits for it, or does nothing if it is not to `wait`. Raises OSError.
        """

    def merge(self, growing: bool = False) -> bool:
        """Make fewer parts of many, if there is need; says whether it did. It may take minutes. Raises OSError.

        While the index is `growing` fast, only what makes searches slow is merged.
        """

    def maintain(self) -> bool:
        """Do one step of work that makes later searches cheaper, if there is any; says whether it did.

        It seals or merges; searches and changes go on meanwhile. Raises OSError.
        """

    def interrupt(self) -> None:
        """End steps of work that are under way, which then raise; they are begun again another time."""

    def snapshot_rows(self) -> int:
        """Vectors that a snapshot would write: what keeping the index costs."""

    def snapshot(self, folder: Path) -> Snapshot:
        """Write to `folder` what is not there yet, and say what of it makes up this moment."""

    def stats(self) -> Stats:
        """What it holds and costs now."""

    def close(self) -> None:
        """Let go of files and connections."""


class Untended:
    """What an index says that looks at everything, or that another program tends."""

    def __init__(self) -> None:
        self.efforts: dict[QueryKind, Effort] = {}

    def trials(self) -> list[Effort]:
        """There is nothing to choose."""
        return []

    def crowded(self, times: int) -> bool:
        """Changes never wait."""
        return False

    def seal(self, wait: bool = True) -> bool:
        """Changes never wait."""
        return False

    def merge(self, growing: bool = False) -> bool:
        """There are no parts."""
        return False

    def maintain(self) -> bool:
        """There is never anything to do."""
        return False

    def interrupt(self) -> None:
        """There is nothing to end."""


def best_parts(scores: NDArray[np.float32], ids: Ids, k: int) -> Found:
    """From parts, best first, to the first `k` contents, each with its best part's score."""
    contents = ids >> PART_BITS
    _, first = np.unique(contents, return_index=True)
    first.sort()
    return scores[first][:k], contents[first][:k]


def nothing() -> Found:
    return np.empty(0, np.float32), np.empty(0, np.int64)
