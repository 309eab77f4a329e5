"""mse.py with a large library: from the database to the index, starting again, memory, and searches over HTTP.

    python bench/large.py [--pictures 1000000] [--dimensions 1152] [--work FOLDER]

The vectors are made by vectors.py; the embedding service is one without a model, for queries come as vectors. Baselines
in the same run: importing mse.py (starting), the float16 vectors themselves (memory), and FAISS's exact search of the
same vectors in float32 on one core (a search).
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common import backend, get_json, import_seconds, memory_of, post_json, wait_for
from stub_library import embedding_stub, fill_library
from vectors import Distribution

QUERIES = 100
STARTS = 3
PAUSE = 20.0  # seconds between looks at a program that builds, so that the look costs nothing


def ask(url: str, queries: np.ndarray, k: int) -> list[float]:
    """Milliseconds of each query over HTTP."""
    times = []
    for query in queries:
        started = time.perf_counter()
        found = post_json(url, {"terms": [{"embedding": query.tolist()}], "k": k})["matches"]
        times.append((time.perf_counter() - started) * 1000)
        assert len(found) == k
    return times


def exact_milliseconds(vectors: np.ndarray, queries: np.ndarray) -> float:
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    for start in range(0, len(vectors), 50_000):
        index.add(vectors[start : start + 50_000].astype(np.float32))
    times = []
    for query in queries[:20].astype(np.float32):
        started = time.perf_counter()
        index.search(query[None], 100)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def settled(url: str, pictures: int) -> dict[str, Any] | None:
    """The state of an index that holds everything, has nothing to merge, and knows its recall."""
    index = get_json(url + "api/status")["index"]
    print(f"\r{index['vectors']:,} vectors in {index['segments']} segments", end="", file=sys.stderr)
    return index if index["contents"] == pictures and index["recall"] else None


def run(folder: Path, pictures: int, dimensions: int) -> dict[str, Any]:
    distribution = Distribution(dimensions)
    vectors_file = folder / "vectors.npy"
    if not vectors_file.exists():
        distribution.write(vectors_file, pictures)
    vectors = np.load(vectors_file, mmap_mode="r")
    queries = distribution.queries(QUERIES)["text"].astype(np.float16)
    figures: dict[str, Any] = {"pictures": pictures, "dimensions": dimensions}
    with embedding_stub(dimensions) as (service, model_id):
        if not (folder / "pictures").exists():
            fill_library(folder, pictures, dimensions, model_id, vectors)
        started = time.perf_counter()
        with backend(folder, service, folder / "pictures") as (url, _):
            figures["index"] = wait_for(lambda: settled(url, pictures), 7200, PAUSE)
            figures["built_s"] = round(time.perf_counter() - started)
        starts, memory = [], []
        for _ in range(STARTS):
            started = time.perf_counter()
            with backend(folder, service, folder / "pictures") as (url, pid):
                wait_for(lambda at=url: ask(at, queries[:1], 10), 600, 0.05)
                starts.append(time.perf_counter() - started)
                wait_for(lambda at=url: get_json(at + "api/status")["indexing"]["state"] == "idle")
                for k in (100, 1000):
                    ask(url, queries, k)
                    times = ask(url, queries, k)
                    figures[f"search_{k}_ms"] = [round(value, 1) for value in np.percentile(times, [50, 99]).tolist()]
                memory.append(memory_of(pid))
    figures["ready_s"] = round(statistics.median(starts), 2)
    figures["import_s"] = round(statistics.median(import_seconds() for _ in range(STARTS)), 2)
    figures["memory_bytes"] = int(statistics.median(memory))
    figures["exact_ms"] = round(exact_milliseconds(vectors, queries), 1)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--dimensions", type=int, default=1152)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.work or Path(name)
        folder.mkdir(exist_ok=True)
        found = run(folder, options.pictures, options.dimensions)
    raw = options.pictures * options.dimensions * 2
    print(f"from the database to a merged, measured index: {found['built_s']} s; {found['index']['recall']}")
    print(
        f"started again and answering after {found['ready_s']} s, {found['ready_s'] / found['import_s']:.1f} x imports"
    )
    print(f"memory {found['memory_bytes'] / 1e6:.0f} MB, {found['memory_bytes'] / raw:.2f} of the vectors in float16")
    for k in (100, 1000):
        p50, p99 = found[f"search_{k}_ms"]
        print(f"{k} results over HTTP: p50 {p50} ms, p99 {p99} ms; {p50 / found['exact_ms']:.3f} of exact search")
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
