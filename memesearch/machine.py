"""What this machine gives the program: processor cores it may really use, and open files."""

import contextlib
import ctypes
import math
import os
import resource
import signal
from pathlib import Path


def usable_cores(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores this process may use: its affinity, cut by the container's quota (cgroup v2 `cpu.max`)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()[:2]
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no such limit
        return cores


PR_SET_PDEATHSIG = 1


def end_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """In a child, or between fork and exec: get this signal when the parent dies, however it dies."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def one_thread_each() -> None:
    """Let FAISS, NumPy and PyTorch compute in the thread that asks them. Call it before they are loaded.

    Their own threads wait for each other by spinning. On cores that other programs use too, a search of a few
    milliseconds takes 20 times as long with them (bench/index_merging.py), and training a model of the taste, which is
    many small products, a hundred times. Searches of several people still use several cores.
    """
    for name in THREADS:
        os.environ.setdefault(name, "1")


def with_all_cores() -> dict[str, str]:
    """The environment for a process that builds something, whatever this one was limited to."""
    return os.environ | dict.fromkeys(THREADS, str(usable_cores()))


def allow_many_connections() -> None:
    """Raise the soft limit on open files to the hard one: each waiting client is an open file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
