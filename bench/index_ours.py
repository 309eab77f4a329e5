"""Our indexes behind the calls that bench/index.py knows. A row of the vectors is a content with one part."""

import shutil
from typing import Any

import numpy as np
from index_others import Candidate, Rows, Task
from numpy.typing import NDArray

BYTES_A_VECTOR = 400  # the budget of memory
AT_ONCE = 1024  # rows, as while indexing
CROWDED = 2  # the same


class Ours(Candidate):
    """What both have in common; `index` is a VectorIndex of the project."""

    index: Any

    def __init__(self) -> None:
        from memesearch.search.index import base

        self.base = base

    def filter(self, rows: Rows) -> Any:
        return self.base.Among(rows)

    def search(self, query: NDArray[np.float32], k: int, kind: str, among: Any = None) -> Rows:
        return self.index.search(query, k, among, kind)[1]

    def add(self, rows: Rows, vectors: NDArray[np.float16]) -> None:
        self.index.add(rows * self.base.PARTS, vectors)

    def remove(self, rows: Rows) -> None:
        self.index.remove(rows)

    def fill(self, task: Task) -> None:
        for start, chunk in task.chunks():
            self.add(np.arange(start, start + len(chunk)), chunk)


class Exact(Ours):
    """In memory only: it is filled when it is loaded."""

    note = "ours, float16"
    efforts = [None]

    def __init__(self) -> None:
        super().__init__()
        from memesearch.search.index import exact

        self.exact = exact

    def load(self, task: Task) -> None:
        self.index = self.exact.ExactIndex(task.dimensions)
        self.fill(task)


class Compact(Ours):
    """Its effort: the share of the lists that is looked at, and how many candidates are ranked exactly."""

    note = f"ours, compact, planned for {BYTES_A_VECTOR} bytes a vector"
    efforts = [(1 / lists, 150) for lists in (256, 128, 64)] + [
        (1 / lists, depth)
        for lists, depth in (
            *((64, 300), (48, 300), (32, 300), (24, 300), (24, 450), (16, 450), (12, 450), (12, 600)),
            *((8, 600), (6, 600), (4, 600), (4, 1200), (2, 1200), (1, 2400)),
        )
    ]

    def __init__(self) -> None:
        super().__init__()
        from memesearch.search.index import compact, plan

        self.compact, self.plan = compact, plan

    def build(self, task: Task) -> None:
        import msgspec

        self._open(task)
        for start, chunk in task.chunks():
            for first in range(0, len(chunk), AT_ONCE):
                self.add(np.arange(start + first, start + min(first + AT_ONCE, len(chunk))), chunk[first:][:AT_ONCE])
                if self.index.crowded(CROWDED):
                    self.index.maintain()
                    self._remove_retired(task)
        while self.index.maintain():
            self._remove_retired(task)
        made = self.index.snapshot(task.folder)
        (task.folder / "snapshot.json").write_bytes(msgspec.json.encode(made))
        self._remove_retired(task)
        self.index.close()

    def _remove_retired(self, task: Task) -> None:
        for name in self.index.take_retired():
            shutil.rmtree(task.folder / name)

    def load(self, task: Task) -> None:
        import msgspec

        self._open(task)
        self.index.restore(msgspec.json.decode((task.folder / "snapshot.json").read_bytes(), type=self.base.Snapshot))

    def set_effort(self, kind: str, effort: tuple[float, int]) -> None:
        self.index.efforts[kind] = self.base.Effort(*effort)

    def _open(self, task: Task) -> None:
        plan = self.plan.make_plan(task.dimensions, task.rows, BYTES_A_VECTOR * task.rows)
        self.index = self.compact.CompactIndex(task.folder, task.dimensions, plan)
