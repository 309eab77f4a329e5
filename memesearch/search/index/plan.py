"""What a compact index of some size costs in memory, and the most precise one that a budget allows.

Figures per vector are FAISS's own: a code of `bits` for each number, its factors, an id of eight bytes, and what
incomplete blocks of 32 codes and the lists' centroids add.
"""

import math

import msgspec

from memesearch.errors import ConfigError
from memesearch.search.index.base import Effort

VECTORS_PER_LIST = 512  # searched per probe, on average
MOST_LISTS = 8192
SEGMENT_ROWS = 2**22  # larger sealed parts would make merging slower without making searches faster
MUTABLE_ROWS = 2**14
LEAST_MUTABLE_ROWS = 2**10
MUTABLE_SHARE = 0.1  # of the memory, at most
ROW_OVERHEAD = 118  # of a mutable row: its id, and its place in a dictionary
TRAINING_ROWS = 2**17
RERANKED = {1: 2000, 2: 300}  # rows whose exact score is computed, by bits; the fewer bits, the more are needed
SHARES = [1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0]
DEPTHS = [1, 2, 4]  # times the usual number of candidates that are ranked exactly
SCANNED_US, RANKED_US = 0.035, 1.7  # microseconds of a row, by its code and exactly (bench/index.py)


class Plan(msgspec.Struct, frozen=True):
    """The design of a compact index.

    Attributes:
        bits: kept in memory for each number of a vector, 1 or 2.
        mutable_rows: size of the mutable part from which it is sealed.
    """

    dimensions: int
    bits: int
    mutable_rows: int = MUTABLE_ROWS

    def code_bytes(self) -> int:
        """Of one vector: its bits and FAISS's factors."""
        return math.ceil(self.dimensions / 8) * self.bits + (8 if self.bits == 1 else 20)

    def memory_bytes(self, vectors: int) -> int:
        """In use for that many vectors, once nothing is left to merge."""
        lists = vectors / VECTORS_PER_LIST
        per_list = 4 * self.dimensions + 16 * self.code_bytes()
        mutable = self.mutable_rows * (2 * self.dimensions + ROW_OVERHEAD)
        rotation = 4 * self.dimensions**2
        return int(vectors * (self.code_bytes() + 8 + 1 / 8) + lists * per_list + mutable + rotation)

    def building_bytes(self, vectors: int) -> int:
        """What the process that seals and merges takes beside that, for a while."""
        largest = min(vectors, SEGMENT_ROWS)
        rows = min(TRAINING_ROWS, largest)
        return int(self.memory_bytes(largest) + 2 * 4 * rows * self.dimensions)

    def disk_bytes(self, vectors: int) -> int:
        """Of the index's files; while parts are merged, as much again as those parts."""
        return int(vectors * (2 * self.dimensions + 8) + self.memory_bytes(vectors))

    def describe(self, vectors: int) -> str:
        bits = "1 bit" if self.bits == 1 else f"{self.bits} bits"
        return (
            f"{vectors:,} vectors of {self.dimensions} numbers at {bits} a number: about "
            f"{megabytes(self.memory_bytes(vectors)):,} MB of memory, {megabytes(self.building_bytes(vectors)):,} MB "
            f"more for a while when parts are merged, {megabytes(self.disk_bytes(vectors)):,} MB of disk"
        )


def megabytes(count: int) -> int:
    return math.ceil(count / 2**20)


def efforts_for(bits: int, rows: int) -> list[Effort]:
    """How far to look in a compact index of so many rows, from the cheapest to everything."""
    efforts = [Effort(share, depth * RERANKED[bits]) for share in SHARES for depth in DEPTHS]
    return sorted(efforts, key=lambda effort: effort.share * rows * SCANNED_US + effort.reranked * RANKED_US)


def lists_for(rows: int) -> int:
    """How many lists a sealed part of so many rows has."""
    return min(max(rows // VECTORS_PER_LIST, 1), MOST_LISTS)


def make_plan(dimensions: int, vectors: int, budget_bytes: int) -> Plan:
    """The most precise plan whose memory stays in the budget.

    Raises:
        ConfigError: none does; the message names the least budget.
    """
    mutable = int(budget_bytes * MUTABLE_SHARE / (2 * dimensions + ROW_OVERHEAD))
    mutable = min(MUTABLE_ROWS, max(LEAST_MUTABLE_ROWS, mutable))
    for bits in (2, 1):
        plan = Plan(dimensions, bits, mutable)
        if plan.memory_bytes(vectors) <= budget_bytes:
            return plan
    least = Plan(dimensions, 1, LEAST_MUTABLE_ROWS).memory_bytes(vectors)
    raise ConfigError(
        f"`index_memory_mb`: an index of {vectors:,} vectors of {dimensions} numbers needs at least "
        f"{math.ceil(least / (1 - MUTABLE_SHARE) / 2**20):,} MB, the budget is {budget_bytes // 2**20:,}; "
        "raise it, or use an index of another type (docs/scaling.md)"
    )
