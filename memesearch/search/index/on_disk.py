"""Exact and compact indexes with the folder that each is kept in."""

import logging
import shutil
from abc import ABC, abstractmethod
from pathlib import Path

from memesearch.errors import ConfigError
from memesearch.library.records import Position
from memesearch.search.index.base import VectorIndex, written_for
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.exact import ExactIndex
from memesearch.search.index.files import Unusable
from memesearch.search.index.gpu import GpuExactIndex, gpu_is_there
from memesearch.search.index.keeper import FORMAT, MANIFEST, Keeper, Manifest, names_of
from memesearch.search.index.plan import LEAST_MUTABLE_ROWS, Plan, megabytes
from memesearch.search.index.settings import EmbeddingModel, IndexSettings, Kind

log = logging.getLogger(__name__)


class OnDisk(ABC):
    """An index in a folder of its own."""

    kind: Kind
    vectors: VectorIndex

    def __init__(self, root: Path, model: EmbeddingModel, settings: IndexSettings, count: int) -> None:
        """An index of about `count` vectors below `root`; what was kept of it is taken up.

        Raises:
            ConfigError: another process uses the folder, it cannot be written, or the budget is too small for an
                index that is not there yet.
        """
        self.folder = folder_of(root, self.kind, model.number)
        self._model_id, self._dimensions, self._settings = model.model_id, model.dimensions, settings
        self._position: Position | None = None
        self._saved: set[str] = set()
        if (problem := self.suit(count)) and not (self.folder / MANIFEST).exists():
            raise ConfigError(problem)
        log.info("the index: %s", self._cost(count))
        self._keeper = Keeper(self.folder)
        try:
            self.vectors = self._empty()
            self._restore()
        except OSError as error:
            self._keeper.close()
            raise ConfigError(f"{self.folder}: the index cannot be kept there: {error.strerror}") from error
        except BaseException:
            self._keeper.close()
            raise

    @abstractmethod
    def suit(self, count: int) -> str | None:
        """Follow what the settings want for so many vectors; says what is wrong with them."""

    @abstractmethod
    def _cost(self, count: int) -> str:
        """What it takes for so many vectors."""

    @abstractmethod
    def _empty(self) -> VectorIndex:
        """A new index."""

    @abstractmethod
    def _read(self, manifest: Manifest) -> None:
        """Become what was kept. Raises Unusable, OSError."""

    def _restore(self) -> None:
        try:
            manifest = self._keeper.load(self._model_id, self._dimensions)
            self._keeper.remove_all_but(manifest.snapshot if manifest else None)
            if manifest is None:
                return
            self._read(manifest)
            self._position, self._saved = manifest.position, names_of(manifest.snapshot)
        except Unusable as error:
            log.warning("%s: the kept index cannot be used, it is built again: %s", self.folder, error)
            self.clear()

    def reached(self) -> Position | None:
        """Where the index stood when it was saved last; None when it has to be filled from the start."""
        return self._position

    def save(self, position: Position) -> None:
        """Make the index, which has reached `position`, survive. Raises OSError."""
        snapshot = self.vectors.snapshot(self.folder)
        names = names_of(snapshot)
        efforts = self.vectors.efforts
        try:
            self._keeper.keep(Manifest(FORMAT, self._model_id, self._dimensions, position, snapshot, efforts))
        except OSError:
            self._keeper.remove(written_for(snapshot))
            raise
        self._keeper.remove((self._saved | self._retired()) - names)
        self._position, self._saved = position, names

    def _retired(self) -> set[str]:
        """Files that the index does not need any more."""
        return set()

    def clear(self) -> None:
        """Make it empty."""
        self.vectors.close()
        self._keeper.forget()
        self._keeper.remove_all_but(None)
        self._position, self._saved = None, set()
        self.vectors = self._empty()

    def close(self) -> None:
        """Let go of it."""
        self.vectors.close()
        self._keeper.close()

    def delete(self) -> None:
        """After closing: remove what was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)


class ExactOnDisk(OnDisk):
    """All vectors in memory, kept as two files."""

    kind: Kind = "exact"

    def suit(self, count: int) -> str | None:
        """There is nothing to follow."""
        if self._settings.type != "exact":
            return None  # another kind is taken where the budget is too small
        try:
            self._settings.check_exact(self._dimensions, count)
        except ConfigError as error:
            return str(error)
        return None

    def _cost(self, count: int) -> str:
        disk = megabytes(count * (2 * self._dimensions + 8))
        return (
            f"{count:,} vectors of {self._dimensions} numbers in float16: about "
            f"{megabytes(ExactIndex.memory_needed(count, self._dimensions)):,} MB of memory, {disk:,} MB of disk, "
            "and as much again while it is kept anew"
        )

    def _empty(self) -> VectorIndex:
        return exact_class()(self._dimensions)

    def _read(self, manifest: Manifest) -> None:
        snapshot = manifest.snapshot
        if len(snapshot.rows) != 1 or snapshot.segments:
            raise Unusable("it is of another kind")
        self.vectors = exact_class().read(self.folder, snapshot.rows[0], self._dimensions)


class CompactOnDisk(OnDisk):
    """A compact index with its segments."""

    kind: Kind = "compact"
    vectors: CompactIndex
    plan: Plan | None = None

    def suit(self, count: int) -> str | None:
        """Take the plan for this size; an index that has outgrown the budget goes on with the smallest."""
        problem, now = None, self.plan
        try:
            plan = self._settings.plan_for(self._dimensions, count, now.bits if now else None)
        except ConfigError as error:
            plan, problem = now or Plan(self._dimensions, 1, LEAST_MUTABLE_ROWS), str(error)
        self.plan = plan
        if now is not None:
            if plan.bits != now.bits:
                log.info("the index is built anew, part by part: %s", plan.describe(count))
            self.vectors.adopt(plan)
        return problem

    def _cost(self, count: int) -> str:
        assert self.plan is not None
        return self.plan.describe(count)

    def _empty(self) -> VectorIndex:
        assert self.plan is not None
        return CompactIndex(self.folder, self._dimensions, self.plan)

    def _read(self, manifest: Manifest) -> None:
        self.vectors.restore(manifest.snapshot)
        self.vectors.efforts |= manifest.efforts

    def _retired(self) -> set[str]:
        return self.vectors.take_retired()


def folder_of(root: Path, kind: Kind, model: int) -> Path:
    """Where an index on disk is kept."""
    return root / f"{kind}-{model}"


def exact_class() -> type[ExactIndex]:
    """With a GPU where faiss-gpu and a device are present."""
    return GpuExactIndex if gpu_is_there() else ExactIndex
