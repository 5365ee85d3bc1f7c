"""What /proc knows: processor time by tree of processes, how long they waited for a core, how busy the others were."""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")

# The fixed piece of work that says how fast a core is just now: neighbours share caches, and virtual cores are shared.
CALIBRATION_ROUNDS = 1200


def calibrate() -> float:
    """CPU milliseconds of a fixed piece of work."""
    began = time.process_time()
    for number in range(CALIBRATION_ROUNDS):
        json.loads(json.dumps({"a": [number] * 20, "b": {"c": "text" * 10}, "d": str(number) * 5}))
    return (time.process_time() - began) * 1000


def tree(pid: int) -> list[int]:
    """The living processes under `pid`, itself included."""
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children[int(fields[1])].append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children[found[-1]]
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name; empty for a process that is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


@dataclass(frozen=True, slots=True)
class Spent:
    """Milliseconds of one tree: `cpu` on a core (children that ended count too), `waiting` ready but without one."""

    cpu: float
    waiting: float

    def __sub__(self, earlier: Spent) -> Spent:
        return Spent(self.cpu - earlier.cpu, self.waiting - earlier.waiting)


def spent(pid: int) -> Spent:
    """What the tree under `pid` has used until now."""
    pids = tree(pid)
    ticks = sum(sum(map(int, _stat(member)[11:15])) for member in pids)
    return Spent(ticks * TICK_MS, sum(_waited(member) for member in pids))


def resident_kib(pid: int) -> int:
    """The resident memory of one process."""
    pages = int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def _waited(pid: int) -> float:
    nanoseconds = 0
    for task in _tasks(pid):
        try:
            nanoseconds += int((task / "schedstat").read_text().split()[1])
        except OSError:
            continue
    return nanoseconds / 1e6


def _tasks(pid: int) -> Iterable[Path]:
    try:
        return list((PROC / str(pid) / "task").iterdir())
    except OSError:
        return []


def everybody() -> dict[int, float]:
    """CPU milliseconds of every living process. (The machine's own sum counts ticks, and is wrong by half a core.)"""
    return {
        int(entry.name): sum(map(int, fields[11:13])) * TICK_MS
        for entry in PROC.iterdir()
        if entry.name.isdigit() and (fields := _stat(int(entry.name)))
    }


def spent_by_others(before: dict[int, float], ours: Iterable[int]) -> float:
    """CPU milliseconds since `before` of all who live now, without the trees under `ours`. Who ended meanwhile is
    missing."""
    own = {member for pid in ours for member in tree(pid)}
    return sum(cpu - before.get(pid, 0.0) for pid, cpu in everybody().items() if pid not in own)


def describe() -> dict[str, object]:
    """The machine, for the head of a report."""
    model = next((line for line in (PROC / "cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
    memory = next(line for line in (PROC / "meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "processor": model.partition(":")[2].strip(),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory.split()[1]) / 2**20, 1),
        "kernel": os.uname().release,
    }
