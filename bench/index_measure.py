"""What bench/index.py measures of one loaded index, in a process that does nothing else, on one core."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from index_others import Candidate, Task
from index_ours import Ours
from index_truth import Float, Rows, kept, prepare, recall

TARGETS = (0.95, 0.99)
LEAST_ANSWERS = 50  # of a slow index, instead of all queries
PATIENCE = 15.0  # seconds for one pass over the queries, beyond the least
FILTERS = (2, 100, 100_000)  # one in so many rows is kept
CHANGED = 1000  # contents that are removed and added again in a round
BATCH = 50  # contents in one call, as while indexing
CHANGE_ROUNDS = 5
PACE = 2.0  # seconds for a round: the changes are spread evenly, so that many searches meet some
IDLE = 5.0  # seconds of searches without changes
ROUNDS = 3  # of the queries at a chosen setting
GAIN = 0.001  # of recall in three steps of the ladder: less means that no more is to be had

Search = Callable[[Float, int, str], Rows]


def memory() -> dict[str, int]:
    """Bytes of this process: its own, and of mapped files."""
    fields = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {field[0]: int(field[1]) * 1024 for field in fields if field and field[0] in ("RssAnon:", "RssFile:")}
    return {"anonymous": sizes["RssAnon:"], "mapped": sizes["RssFile:"]}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json"]


def evict(folder: Path) -> None:
    """Let the system drop the files of `folder` from its memory, as after a reboot."""
    for path in files(folder):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def confine(cores: set[int]) -> None:
    """Keep all threads of this process, also those that libraries have started, on these cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)


def answers(search: Search, queries: Float, k: int, kind: str) -> tuple[list[Rows], list[float]]:
    """What each query found, and its milliseconds; not all queries of a slow index."""
    found, times = [], []
    began = time.perf_counter()
    for query in queries:
        started = time.perf_counter()
        found.append(search(query, k, kind))
        ended = time.perf_counter()
        times.append((ended - started) * 1000)
        if ended - began > PATIENCE and len(times) >= LEAST_ANSWERS:
            break
    return found, times


def latencies(times: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(times, [50, 99])
    return {"p50_ms": round(p50, 3), "p99_ms": round(p99, 3), "per_s": round(1000 / float(np.mean(times)), 1)}


def ladder(candidate: Candidate, queries: Float, truth: Rows, kind: str) -> list[dict[str, Any]]:
    """Recall and latency at each setting, until the last target is reached or no more is to be had."""
    steps: list[dict[str, Any]] = []
    for effort in candidate.efforts:
        candidate.set_effort(kind, effort)
        found, times = answers(candidate.search, queries, 10, kind)
        steps.append({"effort": effort, "recall": round(recall(found, truth, 10), 4), **latencies(times)})
        recalls = [each["recall"] for each in steps]
        if recalls[-1] >= TARGETS[-1] or (len(recalls) > 6 and recalls[-1] - recalls[-4] < GAIN):
            break
    return steps


def at_targets(candidate: Candidate, queries: Float, truth: Rows, kind: str) -> dict[str, Any]:
    """For each target the cheapest setting that reaches it, or the best there is, measured again."""
    steps = ladder(candidate, queries, truth, kind)
    measured: dict[int, dict[str, Any]] = {}
    chosen: dict[str, Any] = {}
    for target in TARGETS:
        enough = [number for number, each in enumerate(steps) if each["recall"] >= target]
        best = enough[0] if enough else max(range(len(steps)), key=lambda number: steps[number]["recall"])
        if best not in measured:
            candidate.set_effort(kind, steps[best]["effort"])
            times: list[float] = []
            for _ in range(ROUNDS):
                times += answers(candidate.search, queries, 10, kind)[1]
                if sum(times) > PATIENCE * 1000:
                    break
            found, deep = answers(candidate.search, queries, 100, kind)
            measured[best] = {
                "effort": steps[best]["effort"],
                "recall": steps[best]["recall"],
                **latencies(times),
                "recall100": round(recall(found, truth, 100), 4),
                "p50_ms_of_100": latencies(deep)["p50_ms"],
            }
        chosen[str(target)] = dict(measured[best])
    return {"steps": steps, "chosen": chosen}


def filtered(candidate: Ours, task: Task, count: int, chosen: dict[str, Any]) -> dict[str, Any]:
    """Recall and latency with filters, at the setting that reaches the last target without one."""
    found: dict[str, Any] = {}
    for one_in in FILTERS:
        queries, truth = prepare(task.folder.parent, task.rows, count, one_in)
        among = candidate.filter(kept(task.rows, one_in))
        for kind in queries:
            candidate.set_effort(kind, chosen[kind][str(TARGETS[-1])]["effort"])

            def search(query: Float, k: int, kind: str, among: Any = among) -> Rows:
                return candidate.search(query, k, kind, among)

            rows, times = answers(search, queries[kind], 10, kind)
            found[f"{kind}, 1 in {one_in:,}"] = {"recall": round(recall(rows, truth[kind], 10), 4), **latencies(times)}
    return found


def updated(candidate: Ours, task: Task, queries: Float) -> dict[str, Any]:
    """Contents removed and added again while one thread searches, at the last setting; the set stays as it was."""
    times: list[float] = []
    stop = threading.Event()

    def ask() -> None:
        asked = 0
        while not stop.is_set():
            times.extend(answers(candidate.search, queries[[asked % len(queries)]], 10, "text")[1])
            asked += 1

    random = np.random.default_rng(0)
    rounds = [task.drawn(CHANGED, random) for _ in range(CHANGE_ROUNDS)]
    seconds = []
    searching = threading.Thread(target=ask)
    searching.start()
    time.sleep(IDLE)
    idle = len(times)
    for rows, contents in rounds:
        taken = 0.0
        for first in range(0, CHANGED, BATCH):
            started = time.perf_counter()
            candidate.remove(rows[first : first + BATCH])
            candidate.add(rows[first : first + BATCH], contents[first : first + BATCH])
            ended = time.perf_counter()
            taken += ended - started
            time.sleep(max(0.0, PACE * BATCH / CHANGED - (ended - started)))
        seconds.append(taken)
    stop.set()
    searching.join()
    before, during = latencies(times[:idle]), latencies(times[idle:])
    return {
        "seconds": round(float(np.median(seconds)), 3),
        "searches_during": len(times) - idle,
        "p99_idle_ms": before["p99_ms"],
        "p99_during_ms": during["p99_ms"],
        "p99_to_idle": round(during["p99_ms"] / before["p99_ms"], 2),
    }


def loaded(candidate: Candidate, task: Task, queries: Float) -> float:
    """Seconds until the first answer."""
    started = time.perf_counter()
    candidate.load(task)
    candidate.search(queries[0], 10, "text")
    return round(time.perf_counter() - started, 3)


def start(candidate: Candidate, task: Task, count: int) -> dict[str, Any]:
    queries, _ = prepare(task.folder.parent, task.rows, count)
    return {"start_s": loaded(candidate, task, queries["text"])}


def measure(candidate: Candidate, task: Task, count: int) -> dict[str, Any]:
    """All figures of one index; memory after all searches, because their buffers and touched pages are its cost."""
    queries, truth = prepare(task.folder.parent, task.rows, count)
    everywhere = os.sched_getaffinity(0)
    before = memory()
    cold = loaded(candidate, task, queries["text"])
    after_load = memory()
    confine({max(everywhere)})
    kinds = {kind: at_targets(candidate, queries[kind], truth[kind], kind) for kind in queries}
    after = memory()
    figures = {
        "note": candidate.note,
        "cold_start_s": cold,
        "disk_bytes": sum(path.stat().st_size for path in files(task.folder)) / task.rows,
        "kinds": {kind: found["chosen"] for kind, found in kinds.items()},
        "steps": {kind: found["steps"] for kind, found in kinds.items()},
    }
    for which in before:
        figures[f"{which}_bytes"] = round((after[which] - before[which]) / task.rows, 1)
        figures[f"{which}_bytes_when_loaded"] = round((after_load[which] - before[which]) / task.rows, 1)
    if isinstance(candidate, Ours):
        figures["filters"] = filtered(candidate, task, count, figures["kinds"])
        confine(everywhere)
        figures["updates"] = updated(candidate, task, queries["text"])
    return figures
