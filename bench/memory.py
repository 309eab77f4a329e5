"""Resident memory of the search backend, and its time from start to ready, with 8,000 pictures of 1152 numbers.

    python bench/memory.py [--pictures 8000] [--dimensions 1152]

Baselines in the same run: a bare process with the same imports and the same vectors in the same kind of
FAISS index (memory), and the time that importing mse.py takes alone (start).
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import backend, get_json, import_seconds, memory_of, wait_for
from stub_library import embedding_stub, fill_library

ROUNDS = 5
MEGABYTE = 2**20
BARE = """
import sys, time, aiohttp, aiosqlite, faiss, numpy, PIL.Image
n, d = map(int, sys.argv[1:])
index = faiss.IndexIDMap2(faiss.IndexScalarQuantizer(d, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT))
for start in range(0, n, 1000):
    rows = numpy.random.default_rng(start).standard_normal((min(1000, n - start), d), dtype=numpy.float32)
    index.add_with_ids(rows, numpy.arange(start, start + len(rows)))
print("ready", flush=True)
time.sleep(60)
"""


def bare_megabytes(pictures: int, dimensions: int) -> float:
    command = [sys.executable, "-c", BARE, str(pictures), str(dimensions)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        megabytes = memory_of(process.pid, "VmRSS") / MEGABYTE
        process.kill()
    return megabytes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=8000)
    parser.add_argument("--dimensions", type=int, default=1152)
    options = parser.parse_args()
    ready, memory, imports = [], [], []
    with tempfile.TemporaryDirectory() as name, embedding_stub(options.dimensions) as (service, model_id):
        folder = Path(name)
        pictures = fill_library(folder, options.pictures, options.dimensions, model_id)
        for number in range(ROUNDS):
            imports.append(import_seconds())
            started = time.perf_counter()
            with backend(folder, service, pictures) as (url, pid):
                wait_for(lambda at=url: get_json(at)["d_emb"] and get_json(at)["n_total"] == options.pictures)
                ready.append(time.perf_counter() - started)
                wait_for(lambda at=url: get_json(at + "api/status")["indexing"]["state"] == "idle")
                memory.append(memory_of(pid, "VmRSS") / MEGABYTE)
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    bare = bare_megabytes(options.pictures, options.dimensions)
    figures = {
        "pictures": options.pictures,
        "resident_mb": round(statistics.median(memory), 1),
        "bare_mb": round(bare, 1),
        "resident_to_bare": round(statistics.median(memory) / bare, 2),
        "ready_s": round(statistics.median(ready), 2),
        "import_s": round(statistics.median(imports), 2),
        "ready_to_import": round(statistics.median(ready) / statistics.median(imports), 2),
    }
    print(
        f"resident memory {figures['resident_mb']} MB, {figures['resident_to_bare']} x a bare process with the vectors"
    )
    print(f"ready after {figures['ready_s']} s, {figures['ready_to_import']} x the imports alone")
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
