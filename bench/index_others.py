"""The indexes that bench/index.py compares ours with, each behind the same few calls.

Everyone's library is imported where it is made, so that one that is missing costs only its own row, and so that
memory counts what the index takes and not what its imports take.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

CHUNK = 20_000
EFFORTS = [10, 15, 20, 30, 40, 60, 80, 120, 160, 240, 320, 480, 640, 960, 1280, 1920, 2560, 3840, 5120]

Rows = NDArray[np.int64]

TRAINED = 250_000  # vectors that the index of autofaiss is trained on; it would take all it has memory for
OPQ_ROUNDS = 8  # instead of 50


@dataclass
class Task:
    """What to index, and where to keep what comes of it.

    Attributes:
        vectors: file of float16 [n, d], alone in its folder.
        rows: how many of them, from the first.
        folder: of this candidate alone.
        threads: for building; a search has one.
    """

    vectors: Path
    rows: int
    dimensions: int
    folder: Path
    threads: int

    def chunks(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        """First row and vectors of each chunk."""
        mapped = np.load(self.vectors, mmap_mode="r")
        for start in range(0, self.rows, CHUNK):
            yield start, np.array(mapped[start : min(start + CHUNK, self.rows)])

    def drawn(self, count: int, random: np.random.Generator) -> tuple[Rows, NDArray[np.float16]]:
        """`count` rows by chance, ascending, with their vectors."""
        rows = np.sort(random.choice(self.rows, count, replace=False))
        return rows, np.load(self.vectors, mmap_mode="r")[rows]


class Candidate(Protocol):
    """An index that can be built once and searched in another process.

    Attributes:
        note: its parameters, for the table.
        efforts: settings from the cheapest to the dearest.
    """

    note: str
    efforts: list[Any]

    def build(self, task: Task) -> None:
        """Write the finished index to the task's folder."""

    def load(self, task: Task) -> None:
        """Make it ready to search."""

    def set_effort(self, kind: str, effort: Any) -> None:
        """How hard to look, for queries of this kind."""

    def search(self, query: NDArray[np.float32], k: int, kind: str) -> Rows:
        """Rows of the nearest, best first."""


class FaissExact(Candidate):
    """The baseline: FAISS's IndexFlatIP over float32."""

    note = "IndexFlatIP, float32"
    efforts = [None]

    def __init__(self) -> None:
        import faiss

        self.faiss = faiss

    def load(self, task: Task) -> None:
        self.vectors = np.empty((task.rows, task.dimensions), np.float32)
        for start, chunk in task.chunks():
            self.vectors[start : start + len(chunk)] = chunk
        self.index = self.faiss.IndexFlatIP(task.dimensions)
        codes = self.index.codes  # looked at where they are: `add` would hold them twice for a while
        codes.is_owned, codes.view_size, codes.c_size = False, self.vectors.nbytes, self.vectors.nbytes
        codes.view_data = codes.c_ptr = self.faiss.swig_ptr(self.vectors.view(np.uint8).reshape(-1))
        self.index.ntotal = task.rows

    def search(self, query: NDArray[np.float32], k: int, kind: str) -> Rows:
        return self.index.search(query[None], k)[1][0]


class Hnswlib(Candidate):
    note = "M=16, ef_construction=200 (its defaults), float32"
    efforts = EFFORTS

    def __init__(self) -> None:
        import hnswlib

        self.hnswlib = hnswlib

    def build(self, task: Task) -> None:
        index = self.hnswlib.Index("ip", task.dimensions)
        index.init_index(task.rows, M=16, ef_construction=200, random_seed=1)
        for start, chunk in task.chunks():
            rows = np.arange(start, start + len(chunk))
            index.add_items(chunk.astype(np.float32), rows, num_threads=task.threads)
            print(f"hnswlib {start + len(chunk):,} of {task.rows:,}", flush=True)
        index.save_index(str(task.folder / "index"))

    def load(self, task: Task) -> None:
        self.index = self.hnswlib.Index("ip", task.dimensions)
        self.index.load_index(str(task.folder / "index"))
        self.index.set_num_threads(1)

    def set_effort(self, kind: str, effort: int) -> None:
        self.index.set_ef(effort)

    def search(self, query: NDArray[np.float32], k: int, kind: str) -> Rows:
        return self.index.knn_query(query, k, num_threads=1)[0][0]


class Usearch(Candidate):
    efforts = EFFORTS

    def __init__(self, dtype: str) -> None:
        from usearch.index import Index

        self.kind, self.dtype = Index, dtype
        self.note = f"connectivity 16, expansion_add 128 (its defaults), {dtype}"

    def _empty(self, dimensions: int) -> Any:
        return self.kind(ndim=dimensions, metric="ip", dtype=self.dtype, connectivity=16, expansion_add=128)

    def build(self, task: Task) -> None:
        index = self._empty(task.dimensions)
        for start, chunk in task.chunks():
            vectors = chunk if self.dtype == "f16" else chunk.astype(np.float32)
            index.add(np.arange(start, start + len(chunk)), vectors, threads=task.threads)
            print(f"usearch {start + len(chunk):,} of {task.rows:,}", flush=True)
        index.save(str(task.folder / "index"))

    def load(self, task: Task) -> None:
        self.index = self._empty(task.dimensions)
        self.index.load(str(task.folder / "index"))

    def set_effort(self, kind: str, effort: int) -> None:
        self.index.expansion_search = effort

    def search(self, query: NDArray[np.float32], k: int, kind: str) -> Rows:
        return self.index.search(query, k, threads=1).keys.astype(np.int64)


class Autofaiss(Candidate):
    """The index that `clip-retrieval index` makes: autofaiss's choice for 4 GB of index.

    autofaiss chooses, FAISS builds: autofaiss's own training takes hours on two cores, and calls FAISS in a way that
    1.15 does not take any more.
    """

    def __init__(self) -> None:
        import autofaiss  # noqa: F401 (told here when it is missing)
        import faiss

        self.faiss = faiss

    def build(self, task: Task) -> None:
        from autofaiss.external.optimize import get_optimal_index_keys_v2

        key = get_optimal_index_keys_v2(task.rows, task.dimensions, "4G")[0]
        vectors = np.load(task.vectors, mmap_mode="r")
        chosen = np.sort(np.random.default_rng(0).choice(task.rows, min(task.rows, TRAINED), replace=False))
        index = self.faiss.index_factory(task.dimensions, key, self.faiss.METRIC_INNER_PRODUCT)
        if "OPQ" in key:
            self.faiss.downcast_VectorTransform(index.chain.at(0)).niter = OPQ_ROUNDS
        self.faiss.omp_set_num_threads(task.threads)
        index.train(vectors[chosen].astype(np.float32))
        for _, chunk in task.chunks():
            index.add(chunk.astype(np.float32))
        self.faiss.write_index(index, str(task.folder / "index"))
        (task.folder / "about.json").write_text(json.dumps({"index_key": key}))

    def load(self, task: Task) -> None:
        about = json.loads((task.folder / "about.json").read_text())
        key = about["index_key"]
        self.index = self.faiss.read_index(str(task.folder / "index"))
        self.parameters = self.faiss.ParameterSpace()
        lists = re.search(r"IVF(\d+)", key)
        self.efforts = [effort for effort in [1, 2, 3, 5, 7, *EFFORTS] if not lists or effort <= int(lists[1])]
        self.pattern = "efSearch={0}"
        if lists:
            self.pattern = "nprobe={0},efSearch={1},ht=2048" if "_HNSW" in key else "nprobe={0}"
            self.pattern += ",ht=2048" if ",PQ" in key and "_HNSW" not in key else ""
        self.note = f"{key}, trained on {min(task.rows, TRAINED):,} vectors"

    def set_effort(self, kind: str, effort: int) -> None:
        self.parameters.set_index_parameters(self.index, self.pattern.format(effort, 2 * effort))

    def search(self, query: NDArray[np.float32], k: int, kind: str) -> Rows:
        return self.index.search(query[None], k)[1][0]


class Chromadb(Candidate):
    note = "its defaults: HNSW of 16 neighbours, ef_construction 100, float32, on disk"
    efforts = EFFORTS

    def __init__(self) -> None:
        import chromadb

        self.chromadb = chromadb

    def _client(self, task: Task) -> Any:
        settings = self.chromadb.Settings(anonymized_telemetry=False)
        return self.chromadb.PersistentClient(str(task.folder / "database"), settings)

    def build(self, task: Task) -> None:
        shutil.rmtree(task.folder / "database", ignore_errors=True)
        collection = self._client(task).create_collection("pictures")
        for start, chunk in task.chunks():
            for first in range(0, len(chunk), 5000):  # it takes 5,461 at most
                part = chunk[first : first + 5000].astype(np.float32)
                collection.add([str(start + first + row) for row in range(len(part))], part)
            print(f"chromadb {start + len(chunk):,} of {task.rows:,}", flush=True)

    def load(self, task: Task) -> None:
        self.task = task
        self.client = self._client(task)
        self.collection = self.client.get_collection("pictures")

    def set_effort(self, kind: str, effort: int) -> None:
        self.collection.modify(configuration={"hnsw": {"ef_search": effort}})
        self.client.close()  # an index that is open keeps the effort it was opened with
        self.load(self.task)
        self.search(np.ones(self.task.dimensions, np.float32), 10, kind)  # which opens it

    def search(self, query: NDArray[np.float32], k: int, kind: str) -> Rows:
        found = self.collection.query(query_embeddings=query[None], n_results=k, include=[])
        return np.array(found["ids"][0], np.int64)
