"""Which kind of index suits a library, and each kind with the place where it is kept."""

import hashlib
import logging
import os
import shutil
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from memesearch.errors import ConfigError
from memesearch.library.records import Position
from memesearch.search.index.base import VectorIndex, written_for
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.files import Unusable
from memesearch.search.index.gpu import GpuExactIndex, gpu_is_there
from memesearch.search.index.keeper import FORMAT, Keeper, Manifest, names_of
from memesearch.search.index.milvus import MilvusIndex
from memesearch.search.index.plan import Plan, make_plan

log = logging.getLogger(__name__)
Kind = Literal["exact", "compact", "milvus"]
KINDS_ON_DISK: tuple[Kind, ...] = ("exact", "compact")
EXACT_VECTORS = 300_000  # above this a search that looks at everything is slower than people like
BACK_TO_EXACT = 200_000
ROOM_TO_GROW = 1.1
MEMORY_SHARE = 0.5  # of the machine's memory, where no budget is set


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

    def plan_for(self, dimensions: int, vectors: int, bits: int | None = None) -> Plan:
        """`bits` are those of now; more are only taken when there is some room. Raises ConfigError when the budget
        is too small."""
        budget, wanted = self.budget_bytes(), int(vectors * ROOM_TO_GROW)
        plan = make_plan(dimensions, wanted, budget)
        if bits is not None and plan.bits > bits and plan.memory_bytes(wanted) > budget * BACK_TO_EXACT / EXACT_VECTORS:
            return msgspec.structs.replace(plan, bits=bits)
        return plan


class Kept(Protocol):
    """An index, and how far it has followed the database as far as its place remembers."""

    kind: Kind

    @property
    def vectors(self) -> VectorIndex:
        """The index itself; another one after `clear`."""

    def reached(self) -> Position | None:
        """Where the index stood when it was saved last; None when it has to be filled from the start."""

    def save(self, position: Position) -> None:
        """Make the index, which has reached `position`, survive. Raises OSError, Unavailable."""

    def clear(self) -> None:
        """Make it empty."""

    def close(self) -> None:
        """Let go of it."""

    def delete(self) -> None:
        """After closing: remove what was kept."""


class OnDisk:
    """An index in a folder of its own."""

    def __init__(self, kind: Kind, folder: Path, model_id: str, dimensions: int, settings: IndexSettings, count: int):
        """Raises ConfigError: another process uses the folder, it cannot be written, or the budget is too small."""
        self.kind, self.folder = kind, folder
        self._model_id, self._dimensions = model_id, dimensions
        self._plan = settings.plan_for(dimensions, count) if kind == "compact" else None
        self._position: Position | None = None
        self._saved: set[str] = set()
        try:
            self._keeper = Keeper(folder)
        except BlockingIOError as error:
            raise ConfigError(f"{folder} is used by another process: is mse.py running already?") from error
        except OSError as error:
            raise ConfigError(f"{folder}: the index cannot be kept there: {error.strerror}") from error
        try:
            self.vectors: ExactIndex | CompactIndex = self._empty()
            self._restore()
        except OSError as error:
            self._keeper.close()
            raise ConfigError(f"{folder}: the index cannot be kept there: {error.strerror}") from error
        except BaseException:
            self._keeper.close()
            raise

    def _empty(self) -> ExactIndex | CompactIndex:
        if self._plan is None:
            return exact_class()(self._dimensions)
        return CompactIndex(self.folder, self._dimensions, self._plan)

    def _restore(self) -> None:
        try:
            manifest = self._keeper.load(self._model_id, self._dimensions)
            self._keeper.remove_all_but(manifest.snapshot if manifest else None)
            if manifest is None:
                return
            self._read(manifest)
        except Unusable as error:
            log.warning("%s: the kept index cannot be used, it is built again: %s", self.folder, error)
            self.clear()

    def _read(self, manifest: Manifest) -> None:
        snapshot = manifest.snapshot
        if isinstance(self.vectors, CompactIndex):
            self.vectors.restore(snapshot)
            self.vectors.efforts |= manifest.efforts
        else:
            if len(snapshot.rows) != 1 or snapshot.segments:
                raise Unusable("it is of another kind")
            self.vectors = exact_class().read(self.folder, snapshot.rows[0], self._dimensions)
        self._position, self._saved = manifest.position, names_of(snapshot)

    def reached(self) -> Position | None:
        return self._position

    def save(self, position: Position) -> None:
        snapshot = self.vectors.snapshot(self.folder)
        compact = self.vectors if isinstance(self.vectors, CompactIndex) else None
        efforts = compact.efforts if compact else {}
        names = names_of(snapshot)
        try:
            self._keeper.keep(Manifest(FORMAT, self._model_id, self._dimensions, position, snapshot, efforts))
        except OSError:
            self._keeper.remove(written_for(snapshot))
            raise
        self._keeper.remove((self._saved | (compact.take_retired() if compact else set())) - names)
        self._position, self._saved = position, names

    def clear(self) -> None:
        self.vectors.close()
        self._keeper.forget()
        self._keeper.remove_all_but(None)
        self._position, self._saved = None, set()
        self.vectors = self._empty()

    def close(self) -> None:
        self.vectors.close()
        self._keeper.close()

    def delete(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class InMilvus:
    """An index that Milvus keeps, with its position beside it."""

    kind: Kind = "milvus"

    def __init__(self, settings: IndexSettings, library: str, model_id: str, dimensions: int) -> None:
        """Milvus need not answer yet. Libraries that share a server have collections of their own."""
        model = hashlib.blake2b(model_id.encode(), digest_size=6).hexdigest()  # Milvus takes letters, digits and _
        collection = f"memes_{library[:12]}_{model}"
        self.vectors = MilvusIndex(settings.uri, collection, dimensions, settings.token)

    def reached(self) -> Position | None:
        """Raises Unavailable."""
        position = self.vectors.position()
        return None if position is None else Position(*position)

    def save(self, position: Position) -> None:
        self.vectors.set_position(position.opening, position.seq)

    def clear(self) -> None:
        self.vectors.clear()

    def close(self) -> None:
        self.vectors.close()

    def delete(self) -> None:
        """Collections are left to their owner."""


def folder_of(root: Path, kind: Kind, model: int) -> Path:
    """Where an index on disk is kept."""
    return root / f"{kind}-{model}"


def remove_other_kinds(root: Path, kind: Kind, model: int) -> None:
    """What the configuration, or the library's size, wanted before."""
    for other in KINDS_ON_DISK:
        if other != kind:
            shutil.rmtree(folder_of(root, other, model), ignore_errors=True)


def exact_class() -> type[ExactIndex]:
    """With a GPU where faiss-gpu and a device are present."""
    return GpuExactIndex if gpu_is_there() else ExactIndex


def machine_bytes() -> int:
    """Of physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
