"""The compact index at sizes whose vectors do not fit the disk twice: they are made, indexed and forgotten in chunks.

    python bench/index_streamed.py --n 10000000 --work FOLDER [--build | --measure]

The truth is found in passing: every chunk is compared exactly with all queries before it is indexed. The baseline is
FAISS's exact float32 search over as many rows as --exact says, its latency multiplied to all rows (it reads each
vector once, so it grows linearly). Measured on one core, after the index was built by a process of its own; see
bench/index.py, whose vectors, queries and rules these are.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from common import PROJECT
from index_measure import at_targets, confine, evict, files, latencies, loaded, memory, updated
from index_others import Rows, Task
from index_ours import Compact
from index_truth import DEPTH, Float, kept, recall
from numpy.typing import NDArray
from tqdm import tqdm
from vectors import CHUNK, Distribution

sys.path.insert(0, str(PROJECT))  # the package is not installed
FILTERS = (1, 100, 100_000)  # one in so many rows is kept; 1: no filter
CHANGED_CHUNK = 7  # where rows are taken from that are removed and added again


class Best:
    """The DEPTH best rows of each query, among those that one filter keeps."""

    def __init__(self, queries: Float, rows: Rows) -> None:
        self.queries, self.allowed = queries, rows
        self.scores = np.full((len(queries), DEPTH), -np.inf, np.float32)
        self.rows = np.full((len(queries), DEPTH), -1, np.int64)

    def show(self, start: int, scores: Float) -> None:
        """Scores [queries, chunk] of the rows from `start` on."""
        first, last = np.searchsorted(self.allowed, [start, start + scores.shape[1]])
        mine = self.allowed[first:last]
        scores = np.hstack([self.scores, scores[:, mine - start]])
        rows = np.hstack([self.rows, np.broadcast_to(mine, (len(scores), len(mine)))])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        self.scores, self.rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


@dataclass
class Streamed(Task):
    """A task whose vectors are made anew whenever they are asked for."""

    truths: list[Best] = field(default_factory=list)

    def chunks(self) -> Iterator[tuple[int, NDArray[np.float16]]]:
        made = Distribution(self.dimensions)
        queries = self.truths[0].queries
        for start in tqdm(range(0, self.rows, CHUNK), "chunks of 20,000", mininterval=30):
            count = min(CHUNK, self.rows - start)
            vectors = made.pictures(made.latents(CHUNK, start // CHUNK))[:count].astype(np.float16)
            scores = queries @ vectors.astype(np.float32).T
            for truth in self.truths:
                truth.show(start, scores)
            yield start, vectors

    def drawn(self, count: int, random: np.random.Generator) -> tuple[Rows, NDArray[np.float16]]:
        made = Distribution(self.dimensions)
        number = min(CHANGED_CHUNK, (self.rows - 1) // CHUNK)
        vectors = made.pictures(made.latents(CHUNK, number)).astype(np.float16)
        chosen = np.sort(random.choice(min(CHUNK, self.rows - number * CHUNK), count, replace=False))
        return number * CHUNK + chosen, vectors[chosen]


def build(task: Streamed, queries: dict[str, Float]) -> dict[str, Any]:
    every = np.vstack(list(queries.values()))
    task.truths = [Best(every, kept(task.rows, one_in)) for one_in in FILTERS]
    started, used = time.perf_counter(), time.process_time()
    Compact().build(task)
    seconds = time.perf_counter() - started
    np.savez(
        task.folder / "truth.npz", **{f"t{one}": best.rows for one, best in zip(FILTERS, task.truths, strict=True)}
    )
    return {"build_s": round(seconds), "own_processor_s": round(time.process_time() - used)}


def baseline(task: Streamed, queries: Float, rows: int) -> dict[str, Any]:
    """FAISS's exact search over the first rows, on one core."""
    made = Distribution(task.dimensions)
    index = faiss.IndexFlatIP(task.dimensions)
    for start in range(0, rows, CHUNK):
        index.add(made.pictures(made.latents(CHUNK, start // CHUNK)))
    faiss.omp_set_num_threads(1)
    times = []
    for query in queries[:50]:
        started = time.perf_counter()
        index.search(query[None], 10)
        times.append((time.perf_counter() - started) * 1000)
    found = latencies(times)
    return {"rows": index.ntotal, **found, "p50_ms_of_all": round(found["p50_ms"] * task.rows / index.ntotal, 1)}


def measure(task: Streamed, queries: dict[str, Float], exact_rows: int) -> dict[str, Any]:
    split = np.cumsum([len(each) for each in queries.values()])[:-1]
    stored = np.load(task.folder / "truth.npz")
    truths = {one: dict(zip(queries, np.split(stored[f"t{one}"], split), strict=True)) for one in FILTERS}
    before = memory()
    candidate = Compact()
    evict(task.folder)
    cold = loaded(candidate, task, queries["text"])
    confine({1})
    kinds = {kind: at_targets(candidate, queries[kind], truths[1][kind], kind) for kind in queries}
    after = memory()
    found: dict[str, Any] = {
        "cold_start_s": cold,
        "plan": str(candidate.index.plan),
        "segments": candidate.index.stats().segments,
        "counted_bytes": candidate.index.stats().memory_bytes / task.rows,
        "anonymous_bytes": (after["anonymous"] - before["anonymous"]) / task.rows,
        "disk_bytes": sum(path.stat().st_size for path in files(task.folder)) / task.rows,
        "kinds": {kind: steps["chosen"] for kind, steps in kinds.items()},
        "steps": {kind: steps["steps"] for kind, steps in kinds.items()},
        "filters": {},
    }
    for one_in in FILTERS[1:]:
        among = candidate.filter(kept(task.rows, one_in))
        for kind in queries:
            candidate.set_effort(kind, kinds[kind]["chosen"]["0.99"]["effort"])
            rows, times = [], []
            for query in queries[kind][:100]:
                started = time.perf_counter()
                rows.append(candidate.search(query, 10, kind, among))
                times.append((time.perf_counter() - started) * 1000)
            reached = round(recall(rows, truths[one_in][kind], 10), 4)
            found["filters"][f"{kind}, 1 in {one_in:,}"] = {"recall": reached, **latencies(times)}
    confine({0, 1})
    found["updates"] = updated(candidate, task, queries["text"])
    confine({1})
    found["exact"] = baseline(task, queries["text"], min(exact_rows, task.rows))
    return found


def report(found: dict[str, Any]) -> None:
    whole = found["exact"]["p50_ms_of_all"]
    for kind, chosen in found["kinds"].items():
        for target, at in chosen.items():
            print(
                f"{kind:8} for {target}: recall@10 {at['recall']:.3f}  p50 {at['p50_ms']:.1f} ms "
                f"({at['p50_ms'] / whole:.4f} of exact float32, {whole:.0f} ms)  p99 {at['p99_ms']:.1f} ms"
            )
    for what, at in found["filters"].items():
        print(f"{what:24} recall@10 {at['recall']:.3f}  p50 {at['p50_ms']:.2f} ms")
    print(f"memory {found['anonymous_bytes']:.0f} B a vector, disk {found['disk_bytes']:.0f} B; {found['updates']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_000_000)
    parser.add_argument("--d", type=int, default=1152)
    parser.add_argument("--queries", type=int, default=200, help="of each kind")
    parser.add_argument("--exact", type=int, default=1_000_000, help="rows of the baseline")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--build", action="store_true", help="only build")
    parser.add_argument("--measure", action="store_true", help="only measure what was built")
    options = parser.parse_args()
    task = Streamed(options.work / "none", options.n, options.d, options.work / f"compact-{options.n}", 2)
    queries = Distribution(options.d).queries(options.queries)
    told = task.folder / "built.json"
    if not options.measure:
        task.folder.mkdir(parents=True)
        told.write_text(json.dumps(build(task, queries)))
        if not options.build:  # in a process whose memory is the index's
            subprocess.run(
                [sys.executable, *sys.argv, "--measure"], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
        return
    found = {"n": options.n, "d": options.d, **json.loads(told.read_text())}
    found |= measure(task, queries, options.exact)
    report(found)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
