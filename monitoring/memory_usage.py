"""How much memory is used: of the limit of this process's control group, else of the machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

WARN_PERCENT: Final = 70
BAD_PERCENT: Final = 85


@dataclass(frozen=True, slots=True)
class MemoryUsage:
    """Bytes. `of_machine`: there is no limit but the machine's memory."""

    used_bytes: int
    limit_bytes: int
    of_machine: bool

    @property
    def percent(self) -> float:
        return 100 * self.used_bytes / self.limit_bytes

    @property
    def limit_name(self) -> str:
        return "the machine" if self.of_machine else "the container"


def read_memory_usage(root: Path = Path("/")) -> MemoryUsage | None:
    """The usage of the tightest limit above this process; None where the system does not say, as it is not Linux.

    What can be dropped at any time, such as copies of files, is not counted as used.
    """
    machine = _machine(root)
    if machine is None:
        return None
    limited = [usage for usage in _control_groups(root) if usage.limit_bytes < machine.limit_bytes]
    return min(limited, key=lambda usage: usage.limit_bytes, default=machine)


def _machine(root: Path) -> MemoryUsage | None:
    sizes = _numbers(root / "proc/meminfo")
    try:
        total, available = 1024 * sizes["MemTotal:"], 1024 * sizes["MemAvailable:"]
    except KeyError:
        return None
    return MemoryUsage(total - available, total, of_machine=True)


def _control_groups(root: Path) -> Iterator[MemoryUsage]:
    """The groups of this process that have a limit, of either version of control groups, and those above them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _limits(root / "sys/fs/cgroup", path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield from _limits(
                root / "sys/fs/cgroup/memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes",
                "total_inactive_file",
            )  # fmt: skip


def _limits(mount: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[MemoryUsage]:
    own = PurePosixPath(path.lstrip("/"))
    for group in (own, *own.parents):
        # In a container the path may be that of the host, which is not there; its own group is the mount then.
        folder = mount / group
        limit_bytes, used_bytes = _number(folder / limit), _number(folder / usage)
        if limit_bytes and used_bytes is not None:
            free = _numbers(folder / "memory.stat").get(reclaimable, 0)
            yield MemoryUsage(max(0, used_bytes - free), limit_bytes, of_machine=False)


def _number(path: Path) -> int | None:
    """The number in a file; None for "max" and for an absent one."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _numbers(path: Path) -> dict[str, int]:
    """The second word of each line by the first one."""
    try:
        words = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in words if len(line) > 1 and line[1].isdigit()}
