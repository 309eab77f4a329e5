"""The kinds of index with the place where each is kept, and which of them to open."""

import hashlib
import shutil
from pathlib import Path
from typing import Protocol

from memesearch.library.records import Position
from memesearch.search.index.base import VectorIndex
from memesearch.search.index.keeper import MANIFEST
from memesearch.search.index.milvus import MilvusIndex
from memesearch.search.index.on_disk import CompactOnDisk, ExactOnDisk, OnDisk, folder_of
from memesearch.search.index.settings import EmbeddingModel, IndexSettings, Kind

ON_DISK: dict[Kind, type[OnDisk]] = {"exact": ExactOnDisk, "compact": CompactOnDisk}


class Kept(Protocol):
    """An index, and how far it has followed the database as far as its place remembers."""

    kind: Kind

    @property
    def vectors(self) -> VectorIndex:
        """The index itself; another one after `clear`."""

    def suit(self, count: int) -> str | None:
        """Follow what the settings want for so many vectors; says what is wrong with them."""

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


class InMilvus:
    """An index that Milvus keeps, with its position beside it."""

    kind: Kind = "milvus"

    def __init__(self, settings: IndexSettings, library: str, model: EmbeddingModel) -> None:
        """Milvus need not answer yet. Libraries that share a server have collections of their own."""
        name = hashlib.blake2b(model.model_id.encode(), digest_size=6).hexdigest()  # Milvus takes letters, digits and _
        collection = f"memes_{library[:12]}_{name}"
        self.vectors = MilvusIndex(settings.uri, collection, model.dimensions, settings.token)

    def suit(self, count: int) -> str | None:
        """Milvus follows its own settings."""
        return None

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


def open_kept(kind: Kind, settings: IndexSettings, library: str, model: EmbeddingModel, count: int) -> Kept:
    """The index of a kind for about `count` vectors, as far as it was kept.

    Raises:
        ConfigError: it cannot be as the settings want it.
    """
    if kind == "milvus":
        return InMilvus(settings, library, model)
    assert settings.folder is not None
    return ON_DISK[kind](settings.folder, model, settings, count)


def kinds_kept(root: Path, model: int) -> list[Kind]:
    """Which kinds were kept; only a change of kind that was broken off leaves several."""
    return [kind for kind in ON_DISK if (folder_of(root, kind, model) / MANIFEST).exists()]


def remove_other_kinds(root: Path, kind: Kind, model: int) -> None:
    """What a change of kind that was broken off has left."""
    for other in ON_DISK:
        if other != kind:
            shutil.rmtree(folder_of(root, other, model), ignore_errors=True)
