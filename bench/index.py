"""Vector indexes on the same vectors in one run: memory, building, latency at equal recall; ours and others.

    python bench/index.py --n 1000000 --d 1152 [--only hnswlib,compact] [--queries 200] [--work FOLDER]

The baseline is FAISS's exact float32 index; every latency is also told as a share of its. Each index is built in a
process of its own and kept in the work folder; it is then loaded and searched in another, on one core, so that
memory and threads are its own. For picture and for text queries the cheapest setting of a ladder is taken that
finds 0.95 and 0.99 of the exact ten nearest. `--build` stops when the indexes are built. Vectors: vectors.py.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import PROJECT
from index_measure import evict, measure, start
from index_others import Autofaiss, Candidate, Chromadb, FaissExact, Hnswlib, Task, Usearch
from index_ours import Compact, Exact
from index_truth import prepare
from vectors import Distribution

BASELINE = "faiss-exact"
CANDIDATES: dict[str, Callable[[], Candidate]] = {
    BASELINE: FaissExact,
    "exact": Exact,
    "hnswlib": Hnswlib,
    "usearch-f16": lambda: Usearch("f16"),
    "usearch-i8": lambda: Usearch("i8"),
    "autofaiss": Autofaiss,
    "chromadb": Chromadb,
    "compact": Compact,
}
SPARE_MEMORY = 0.6  # of what is free, for an exact index; it holds fewer rows where that is not enough


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--d", type=int, default=1152)
    parser.add_argument("--queries", type=int, default=200, help="of each kind")
    parser.add_argument("--only", default=",".join(CANDIDATES), help="names, beside the baseline")
    parser.add_argument("--chroma-n", type=int, default=100_000, help="rows for chromadb, which is slow to fill")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for building")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--build", action="store_true", help="only build what is not built yet")
    parser.add_argument("--step", choices=["build", "measure", "start"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.work = options.work or Path(tempfile.gettempdir()) / f"mse-index-{options.n}-{options.d}"
    return options


def rows_of(name: str, options: argparse.Namespace) -> int:
    """How many of the rows it is given."""
    if name == "chromadb":
        return min(options.n, options.chroma_n)
    if name in (BASELINE, "exact"):
        bytes_each = options.d * (4 if name == BASELINE else 2)
        fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
        free = next(int(field[1]) for field in fields if field[0] == "MemAvailable:") * 1024
        fits = int(free * SPARE_MEMORY / bytes_each)
        return options.n if options.n <= fits else fits // 100_000 * 100_000
    return options.n


def task_of(name: str, rows: int, options: argparse.Namespace) -> Task:
    return Task(options.work / "vectors" / "vectors.npy", rows, options.d, options.work / name, options.threads)


def build(name: str, task: Task) -> None:
    """In a process of its own: seconds on the clock and of the processors, which differ on a busy machine."""
    candidate = CANDIDATES[name]()
    clock, processors = time.perf_counter(), sum(os.times()[:4])
    candidate.build(task)
    about = {
        "rows": task.rows,
        "threads": task.threads,
        "build_s": round(time.perf_counter() - clock, 1),
        "build_cpu_s": round(sum(os.times()[:4]) - processors, 1),
    }
    (task.folder / "build.json").write_text(json.dumps(about))


def step(which: str, name: str, rows: int, options: argparse.Namespace) -> None:
    """Run one step in a fresh process; what it prints is talk."""
    command = [sys.executable, __file__, "--step", which, "--only", name, "--work", str(options.work)]
    for option, value in (("n", rows), ("d", options.d), ("queries", options.queries), ("threads", options.threads)):
        command += [f"--{option}", str(value)]
    environment = dict(os.environ)
    if which != "build":
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"died with {done.returncode}"])[-1]
        missing = reason.startswith(("ImportError", "ModuleNotFoundError"))
        raise RuntimeError(f"{'not installed' if missing else 'failed'}: {reason}")


def run(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Everything about one candidate."""
    rows = rows_of(name, options)
    task = task_of(name, rows, options)
    built = task.folder / "build.json"
    if not built.is_file() or json.loads(built.read_text())["rows"] != rows:
        shutil.rmtree(task.folder, ignore_errors=True)
        task.folder.mkdir(parents=True)
        step("build", name, rows, options)
    found: dict[str, Any] = json.loads(built.read_text())
    if options.build:
        return found
    prepare(options.work, rows, options.queries)
    evict(task.folder)
    for which in ("measure", "start"):
        step(which, name, rows, options)
        found |= json.loads((task.folder / f"{which}.json").read_text())
    return found


def table(name: str, found: dict[str, Any], baseline: dict[str, Any]) -> None:
    """The lines of one candidate; ratios are to the baseline's p50 for the same kind, scaled to the same rows."""
    print(f"\n{name}: {found['note']}; {found['rows']:,} vectors")
    print(
        f"    built in {found['build_s']:.0f} s ({found['threads']} threads, {found['build_cpu_s']:.0f} s of processor)"
        f", {found['disk_bytes']:.0f} bytes a vector on disk; first answer after {found['start_s']:.2f} s"
        f" ({found['cold_start_s']:.2f} s with its files not in memory)"
    )
    print(
        f"    memory a vector: {found['anonymous_bytes_when_loaded']:.0f} bytes and mapped files "
        f"{found['mapped_bytes_when_loaded']:.0f} when loaded, {found['anonymous_bytes']:.0f} and "
        f"{found['mapped_bytes']:.0f} after all searches"
    )
    for kind, targets in found["kinds"].items():
        exact = baseline["kinds"][kind]["0.95"]["p50_ms"] / baseline["rows"] if baseline else float("nan")
        for target, at in targets.items():
            at["to_baseline"] = round(at["p50_ms"] / found["rows"] / exact, 4)
            missed = "" if at["recall"] >= float(target) else f" ({target} not reached)"
            print(
                f"    {kind:8} recall@10 {at['recall']:.3f}{missed:20} p50 {at['p50_ms']:8.2f} ms "
                f"p99 {at['p99_ms']:8.2f} ms {at['per_s']:7.1f}/s  {at['to_baseline']:.4f} of exact"
                f"  recall@100 {at['recall100']:.3f}  at {at['effort']}"
            )
    for what, at in found.get("filters", {}).items():
        print(f"    {what:22} recall@10 {at['recall']:.3f} p50 {at['p50_ms']:.2f} ms p99 {at['p99_ms']:.2f} ms")
    if at := found.get("updates"):
        print(
            f"    1,000 removed and added again while searching: {at['seconds']:.2f} s; p99 of {at['searches_during']} "
            f"searches {at['p99_during_ms']:.2f} ms, {at['p99_to_idle']:.2f} of idle ({at['p99_idle_ms']:.2f} ms)"
        )


def main() -> int:
    options = parse()
    if options.step:
        name = options.only
        task = task_of(name, options.n, options)
        if options.step == "build":
            build(name, task)
        else:
            measured = (measure if options.step == "measure" else start)(CANDIDATES[name](), task, options.queries)
            (task.folder / f"{options.step}.json").write_text(json.dumps(measured))
        return 0
    vectors = options.work / "vectors" / "vectors.npy"
    if not vectors.is_file():
        vectors.parent.mkdir(parents=True, exist_ok=True)
        Distribution(options.d).write(vectors, options.n)
    if (shape := np.load(vectors, mmap_mode="r").shape) != (options.n, options.d):
        print(f"{vectors} holds {shape}, not {(options.n, options.d)}", file=sys.stderr)
        return 2
    figures: dict[str, Any] = {"n": options.n, "d": options.d, "queries": options.queries}
    wanted = options.only.split(",")
    if unknown := set(wanted) - set(CANDIDATES):
        print(f"--only {unknown}: known are {', '.join(CANDIDATES)}", file=sys.stderr)
        return 2
    for name in [BASELINE, *(name for name in CANDIDATES if name in wanted and name != BASELINE)]:
        try:
            figures[name] = run(name, options)
        except RuntimeError as error:
            figures[name] = {"failed": str(error)}
            print(f"\n{name}: {error}")
            continue
        if not options.build:
            table(name, figures[name], figures.get(BASELINE, {}) if "kinds" in figures[BASELINE] else {})
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(PROJECT))
    raise SystemExit(main())
