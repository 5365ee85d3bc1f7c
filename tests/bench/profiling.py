"""A profile of all threads of a process, by processor time: cProfile once per thread, added up at the end.

It costs the process about half of its speed and makes small functions look larger than they are, so it says where time
goes, not how much. The totals of the bench are taken without it.
"""

from __future__ import annotations

import cProfile
import pstats
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def profiled(target: Path) -> Iterator[None]:
    """Profile this thread and all that start meanwhile; the sum is written to `target`, in the format of pstats."""
    profiles: list[cProfile.Profile] = []
    lock = threading.Lock()
    run = threading.Thread.run

    def begin() -> cProfile.Profile:
        profile = cProfile.Profile(time.thread_time)
        with lock:
            profiles.append(profile)
        profile.enable()
        return profile

    def run_profiled(thread: threading.Thread) -> None:
        profile = begin()
        try:
            run(thread)
        finally:
            profile.disable()

    threading.Thread.run = run_profiled  # type: ignore[method-assign, assignment]
    own = begin()
    try:
        yield
    finally:
        own.disable()
        threading.Thread.run = run  # type: ignore[method-assign]
        stats = pstats.Stats(profiles[0])
        for profile in profiles[1:]:
            stats.add(profile)
        stats.dump_stats(target)


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
