"""CPU and memory that the server's processes use, and their limits.

Use is known on Linux only; elsewhere Prometheus gets no such series.
"""

import os
from collections.abc import Iterable
from pathlib import Path

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(master: int, workers: Iterable[int]) -> float | None:
    """CPU seconds of the server so far; the master's include those of workers that have ended."""
    times = [_ticks(master, 11, 15), *(_ticks(worker, 11, 13) for worker in workers)]
    known = [ticks for ticks in times if ticks is not None]
    return sum(known) / TICKS if known else None


def resident_bytes(processes: Iterable[int]) -> float | None:
    """Memory of the processes; shared memory is counted once (the sum of their PSS)."""
    known = [found for found in map(_pss, processes) if found is not None]
    return float(sum(known)) if known else None


def cpu_limit(workers: int) -> float:
    """Cores that the server can use: one a worker, as far as the machine and the cgroup allow."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    quota, _, period = _read(CGROUP / "cpu.max").partition(" ")
    if quota.isdigit():
        cores = min(cores, int(quota) / int(period))
    return min(cores, float(workers))


def memory_limit() -> float:
    """Bytes that the server may use: the cgroup's limit, else the machine's memory."""
    limit = _read(CGROUP / "memory.max")
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(min(int(limit), machine) if limit.isdigit() else machine)


def _ticks(process: int, first: int, last: int) -> int | None:
    """Sum of fields of /proc/PID/stat, counted from the one after the command's name."""
    fields = _read(PROC / str(process) / "stat").rpartition(")")[2].split()
    return sum(map(int, fields[first:last])) if fields else None


def _pss(process: int) -> int | None:
    for line in _read(PROC / str(process) / "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # not Linux, another cgroup version, or the process has just ended
        return ""
