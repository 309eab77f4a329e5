"""Searches while the compact index merges two segments beside them, against the same searches before.

    python bench/index_merging.py [--n 300000] [--d 1152]

Both halves of the vectors are sealed into a segment each; then one thread lets the index merge them (in its process of
low priority) while another goes on searching with text queries. Vectors: vectors.py.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as mse.py does; FAISS's own are slow beside other work: try 2

import numpy as np
from common import PROJECT
from index_measure import latencies
from vectors import CHUNK, Distribution

sys.path.insert(0, str(PROJECT))  # the package is not installed

from memesearch.search.index.base import PARTS
from memesearch.search.index.compact import CompactIndex
from memesearch.search.index.plan import Plan

IDLE_SECONDS = 20.0
AT_ONCE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=300_000)
    parser.add_argument("--d", type=int, default=1152)
    options = parser.parse_args()
    made = Distribution(options.d)
    queries = made.queries(200)["text"]
    with tempfile.TemporaryDirectory() as folder:
        index = CompactIndex(Path(folder), options.d, Plan(options.d, 2))
        for start in range(0, options.n, CHUNK):
            vectors = made.pictures(made.latents(CHUNK, start // CHUNK)).astype(np.float16)
            for first in range(0, CHUNK, AT_ONCE):
                part = vectors[first : first + AT_ONCE]
                index.add((start + first + np.arange(len(part))) * PARTS, part)
            if start < options.n / 2 <= start + CHUNK:
                index.maintain()
        index.maintain()
        segments = index.stats().segments
        times: list[float] = []
        stop = threading.Event()

        def ask() -> None:
            asked = 0
            while not stop.is_set():
                started = time.perf_counter()
                index.search(queries[asked % len(queries)], 10, None, "text")
                times.append((time.perf_counter() - started) * 1000)
                asked += 1

        searching = threading.Thread(target=ask)
        searching.start()
        time.sleep(IDLE_SECONDS)
        before, started = len(times), time.perf_counter()
        index.maintain()
        seconds = time.perf_counter() - started
        during = times[before:]
        stop.set()
        searching.join()
        idle = latencies(times[:before])
        merging = latencies(during)
        after = index.stats().segments
        index.close()
    ratio = round(merging["p99_ms"] / idle["p99_ms"], 2)
    print(f"{options.n:,} vectors in {segments} segments, merged into {after} in {seconds:.0f} s")
    print(f"idle: p50 {idle['p50_ms']:.1f} ms, p99 {idle['p99_ms']:.1f} ms")
    print(f"merging: p50 {merging['p50_ms']:.1f} ms, p99 {merging['p99_ms']:.1f} ms, {ratio} of idle's")
    print(json.dumps({"n": options.n, "idle": idle, "merging": merging, "p99_ratio": ratio, "seconds": round(seconds)}))


if __name__ == "__main__":
    main()
