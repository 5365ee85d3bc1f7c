"""A profile of all threads of a process, by processor time: cProfile once per thread, added up at the end.

It costs the process about half of its speed and makes small functions look larger than they are, so it says where time
goes, not how much. The totals of the bench are taken without it.
"""

from __future__ import annotations

import cProfile
import pstats
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Forget what was measured until now: the start of the process is not what a turn costs.
FORGET = signal.SIGUSR1


@contextmanager
def profiled(target: Path) -> Iterator[None]:
    """Profile this thread and all that start meanwhile; the sum is written to `target`, in the format of pstats."""
    profiles: list[cProfile.Profile] = []
    lock = threading.Lock()
    run = threading.Thread.run

    def begin() -> None:
        profile = cProfile.Profile(time.thread_time)
        with lock:
            profiles.append(profile)
        profile.enable()

    def run_profiled(thread: threading.Thread) -> None:
        begin()
        run(thread)

    def forget(*_: object) -> None:
        for profile in profiles:
            profile.clear()

    threading.Thread.run = run_profiled  # type: ignore[method-assign, assignment]
    signal.signal(FORGET, forget)
    begin()
    try:
        yield
    finally:
        threading.Thread.run = run  # type: ignore[method-assign]
        # Not `disable`, which would end the calls that other threads wait in by the clock of this one.
        sums = pstats.Stats()
        for taken in filter(None, (_taken(profile) for profile in profiles)):
            sums.add(taken)  # type: ignore[arg-type]  # what it asks is less than what it says
        sums.dump_stats(target)


class _Taken:
    """What `pstats` asks of a profile."""

    def __init__(self, stats: dict[Any, Any]) -> None:
        self.stats = stats

    def create_stats(self) -> None:
        """They are there."""


def _taken(profile: cProfile.Profile) -> _Taken | None:
    profile.snapshot_stats()
    stats: dict[Any, Any] = profile.stats
    return _Taken(stats) if stats else None


def report(source: Path, *, turns: int, lines: int = 45) -> str:
    """The functions with the most time of their own, and those with the most below them, in microseconds a turn."""
    stats = pstats.Stats(str(source))
    rows = [
        (own, below, calls, _name(function))
        for function, (_, calls, own, below, _) in stats.stats.items()  # type: ignore[attr-defined]
    ]
    total = sum(row[0] for row in rows)
    parts = [f"{turns} turns, {1000 * total / turns:.2f} ms of CPU a turn under the profile"]
    for title, column in (("own time", 0), ("time with everything below", 1)):
        parts.append(f"\n{title}\n{'own µs':>8} {'below µs':>9} {'calls':>7}  function (all a turn)")
        for own, below, calls, name in sorted(rows, key=lambda row: -float(row[column]))[:lines]:
            parts.append(f"{1e6 * own / turns:8.1f} {1e6 * below / turns:9.1f} {calls / turns:7.2f}  {name}")
    return "\n".join(parts)


def _name(function: tuple[str, int, str]) -> str:
    file, line, name = function
    if file == "~":
        return name
    short = file.partition("site-packages/")[2] or "/".join(Path(file).parts[-3:])
    return f"{short}:{line} {name}"
