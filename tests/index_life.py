"""A library of made vectors in a real database, its index, and what a search of it has to find."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np

from memesearch.library.records import Content, FileStat
from memesearch.library.store import Store
from memesearch.search.index.settings import IndexSettings
from memesearch.search.live import LiveIndex

DIMENSIONS = 32
MODEL = "first"


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float32)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


class Life:
    """`held` is what should be found: the vector of each file."""

    def __init__(self, folder: Path, dimensions: int = DIMENSIONS) -> None:
        self.database, self.dimensions = folder / "library.db", dimensions
        self.kept = folder / "library.db.index"
        self.held: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(5)
        self.model = 0

    @asynccontextmanager
    async def store(self) -> AsyncIterator[Store]:
        async with Store.open(self.database) as store:
            self.model = await store.model_number(MODEL, self.dimensions)
            await store.activate_model(self.model)
            yield store

    def settings(self, kind: str = "auto", memory_mb: int = 1, target: float = 0.5) -> IndexSettings:
        """A low target, for random vectors are what an approximate index finds worst."""
        uri = str(self.database.with_name("milvus.db")) if kind == "milvus" else ""
        return IndexSettings(folder=self.kept, type=kind, uri=uri, memory_mb=memory_mb, recall_target=target)  # type: ignore[arg-type]

    @asynccontextmanager
    async def opened(self, kind: str = "auto", **more: float) -> AsyncIterator[tuple[Store, LiveIndex]]:
        """The library with an index that has caught up."""
        async with self.store() as store:
            index = self.index(store, kind, **more)
            try:
                await index.open()
                await index.catch_up()
                yield store, index
            finally:
                await index.close()

    def index(self, store: Store, kind: str = "auto", **more: float) -> LiveIndex:
        return LiveIndex(store, self.model, MODEL, self.dimensions, self.settings(kind, **more))

    async def add(self, store: Store, names: Iterable[str], rows: np.ndarray | None = None) -> None:
        """New files, or files with other bytes than before."""
        names = list(names)
        if rows is None:
            rows = unit(self.random.standard_normal((len(names), self.dimensions)))
        items = []
        for name, row in zip(names, rows, strict=True):
            content = Content(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), "image", 4, 3, 1)
            items.append((content, [row.tobytes()], [self.file(name)]))
            self.held[name] = row
        await store.add(self.model, items)

    def file(self, name: str) -> FileStat:
        return FileStat(name, time.time_ns(), 1)

    async def remove(self, store: Store, names: Iterable[str]) -> None:
        names = list(names)
        await store.remove(names)
        for name in names:
            del self.held[name]

    async def agrees(self, store: Store, index: LiveIndex) -> None:
        """Asked for everything, the index finds exactly what is held, with exact scores, the best first."""
        query = self.random.standard_normal(self.dimensions).astype(np.float32)
        assert len(index.vectors) == len(self.held)
        scores, contents = await asyncio.to_thread(index.vectors.search, query, len(self.held) + 5, None, "text")
        hits = await store.hits(contents.tolist())
        expected = {name: float(row.astype(np.float32) @ query) for name, row in self.held.items()}
        found = {hits[c].files[0]: score for c, score in zip(contents.tolist(), scores.tolist(), strict=True)}
        assert found.keys() == expected.keys()
        atol = 1e-3 * float(np.linalg.norm(query))
        assert all(abs(found[name] - score) < atol for name, score in expected.items())
        assert (np.diff(scores) <= 0).all()

    async def finds(self, store: Store, index: LiveIndex, name: str) -> bool:
        """Whether a search with a file's own vector has it as the best."""
        query = self.held[name].astype(np.float32)
        _, contents = await asyncio.to_thread(index.vectors.search, query, 1, None, "picture")
        return name in (await store.hits(contents.tolist()))[int(contents[0])].files

    def leftovers(self, kind: str) -> set[str]:
        """What lies in the index's folder beside the files that its manifest names."""
        folder = self.kept / f"{kind}-{self.model}"
        manifest = (folder / "manifest.json").read_text() if (folder / "manifest.json").exists() else ""
        known = {"manifest.json", "lock", "rotation.f32"}
        there = {path.name for path in folder.iterdir()} - known
        return {name for name in there if f'"{name.removesuffix(".i64").removesuffix(".f16")}"' not in manifest}


def named(prefix: str, count: int) -> list[str]:
    return [f"{prefix}/{number}.png" for number in range(count)]
