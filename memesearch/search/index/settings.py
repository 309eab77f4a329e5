"""What the configuration says of the index, and which kind and design follow from it."""

import os
from pathlib import Path
from typing import Literal

import msgspec

from memesearch.errors import ConfigError
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.plan import Plan, make_plan, megabytes

Kind = Literal["exact", "compact", "milvus"]
EXACT_VECTORS = 300_000  # above this a search that looks at everything is slower than people like
BACK_TO_EXACT = 200_000
ROOM_TO_GROW = 1.1
MEMORY_SHARE = 0.5  # of the machine's memory, where no budget is set


class EmbeddingModel(msgspec.Struct, frozen=True):
    """Whose vectors an index holds: its number in the database, its `model_id`, and the vectors' dimensions."""

    number: int
    model_id: str
    dimensions: int


class IndexSettings(msgspec.Struct, kw_only=True):
    """What the configuration says of the index. `folder` is None for a program that keeps none."""

    folder: Path | None
    type: Literal["auto", "exact", "compact", "milvus"] = "auto"
    uri: str = ""
    token: str = ""
    memory_mb: int = 0
    recall_target: float = 0.98

    def budget_bytes(self) -> int:
        return self.memory_mb * 2**20 or int(machine_bytes() * MEMORY_SHARE)

    def kind_for(self, dimensions: int, vectors: int, now: Kind | None) -> Kind:
        """The kind for so many vectors; one that is there stays while it is nearly as good."""
        if self.type != "auto":
            return self.type
        stays = BACK_TO_EXACT / EXACT_VECTORS if now == "compact" else 1.0
        fits = ExactIndex.memory_needed(vectors, dimensions) <= self.budget_bytes() * stays
        return "exact" if vectors <= EXACT_VECTORS * stays and fits else "compact"

    def check_exact(self, dimensions: int, vectors: int) -> None:
        """Raises ConfigError when a budget was set that an exact index of so many vectors does not fit in."""
        needed = ExactIndex.memory_needed(vectors, dimensions)
        if self.memory_mb and needed > self.budget_bytes():
            raise ConfigError(
                f"`index_memory_mb`: an exact index of {vectors:,} vectors of {dimensions} numbers needs at least "
                f"{megabytes(needed):,} MB, the budget is {self.memory_mb:,}; raise it, or use an index of "
                "another type (docs/scaling.md)"
            )

    def plan_for(self, dimensions: int, vectors: int, bits: int | None = None) -> Plan:
        """`bits` are those of now; more are only taken when there is some room. Raises ConfigError when the budget
        is too small."""
        budget, wanted = self.budget_bytes(), int(vectors * ROOM_TO_GROW)
        plan = make_plan(dimensions, wanted, budget)
        if bits is not None and plan.bits > bits and plan.memory_bytes(wanted) > budget * BACK_TO_EXACT / EXACT_VECTORS:
            return msgspec.structs.replace(plan, bits=bits)
        return plan


def machine_bytes() -> int:
    """Of physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
