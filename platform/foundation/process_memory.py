"""How much memory this process uses, and how much there is: of its control group (container), else of the machine.

From `/proc` and `/sys/fs/cgroup`, a tenth of a millisecond in all. Elsewhere than on Linux only what the standard
library says: the largest resident size so far, and the memory of the machine.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")
_KIBIBYTE: Final = 1024


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Bytes that are in use of a limit, without files that are only cached; None where nobody knows. `of_machine`: the
    limit is all the memory of the machine."""

    used_bytes: int | None
    limit_bytes: int | None
    of_machine: bool = False


def resident_bytes(proc: Path = _PROC) -> int:
    """The memory of this process that is in RAM."""
    with suppress(OSError, ValueError, IndexError):
        return int((proc / "self/statm").read_text().split()[1]) * resource.getpagesize()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * _KIBIBYTE


def read_memory_use(proc: Path = _PROC, cgroups: Path = _CGROUPS) -> MemoryUse:
    """What is used of the lowest limit that this process is under."""
    machine = _machine(proc)
    limits = [use for use in _control_groups(proc, cgroups) if use.limit_bytes]
    # A group without a limit of its own has one beyond all memory (cgroup v1), or none.
    lower = [use for use in limits if machine.limit_bytes is None or (use.limit_bytes or 0) < machine.limit_bytes]
    return min(lower, key=lambda use: use.limit_bytes or 0, default=machine)


def _machine(proc: Path) -> MemoryUse:
    with suppress(OSError, ValueError, KeyError):
        sizes = _key_values(proc / "meminfo")
        total, available = sizes["MemTotal:"] * _KIBIBYTE, sizes["MemAvailable:"] * _KIBIBYTE
        return MemoryUse(total - available, total, of_machine=True)
    with suppress(OSError, ValueError):
        return MemoryUse(None, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), of_machine=True)
    return MemoryUse(None, None)


def _control_groups(proc: Path, cgroups: Path) -> Iterator[MemoryUse]:
    """The groups of this process that can be seen, with those above them. Inside a container its own is the root."""
    try:
        lines = (proc / "self/cgroup").read_text().split("\n")
    except OSError:
        return
    for line in filter(None, lines):
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            names = "memory.max", "memory.current", "inactive_file"
            yield from _read_groups(cgroups, path, names)
        elif "memory" in controllers.split(","):
            names = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _read_groups(cgroups / "memory", path, names)


def _read_groups(root: Path, path: str, names: tuple[str, str, str]) -> Iterator[MemoryUse]:
    limit_file, used_file, cached = names
    group = PurePosixPath(path)
    for parent in (group, *group.parents):
        folder = root / str(parent).lstrip("/")
        with suppress(OSError, ValueError):
            limit = int((folder / limit_file).read_text())  # "max" is no number: no limit
            used = int((folder / used_file).read_text())
            with suppress(OSError, ValueError, KeyError):
                used -= _key_values(folder / "memory.stat")[cached]
            yield MemoryUse(max(0, used), limit)


def _key_values(file: Path) -> dict[str, int]:
    pairs = (line.split()[:2] for line in file.read_text().split("\n"))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
