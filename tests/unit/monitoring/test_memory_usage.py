"""Memory is read of the tightest limit: a control group's of either version, else the machine's."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitoring.memory_usage import MemoryUsage, read_memory_usage

GIB = 2**30
MACHINE = {"proc/meminfo": "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable: 6291456 kB\n"}
WHOLE = MemoryUsage(2 * GIB, 8 * GIB, of_machine=True)
STAT = "anon 5\ninactive_file 1073741824\ntotal_inactive_file 1073741824\n"


def group(folder: str, limit: str, used: int, *, first: bool = False) -> dict[str, str]:
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if first else ("memory.max", "memory.current")
    contents = (limit, str(used), STAT)
    return {f"sys/fs/cgroup/{folder}{name}": text for name, text in zip((*names, "memory.stat"), contents, strict=True)}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (MACHINE, WHOLE),
        (MACHINE | {"proc/self/cgroup": "0::/\n"} | group("", "max", GIB), WHOLE),
        (
            MACHINE | {"proc/self/cgroup": "0::/\n"} | group("", str(4 * GIB), 3 * GIB),
            MemoryUsage(2 * GIB, 4 * GIB, of_machine=False),
        ),
        (
            MACHINE
            | {"proc/self/cgroup": "0::/app/web\n"}
            | group("app/web/", "max", GIB)
            | group("app/", str(3 * GIB), 3 * GIB),
            MemoryUsage(2 * GIB, 3 * GIB, of_machine=False),
        ),
        (
            MACHINE
            | {"proc/self/cgroup": "4:cpu,memory:/host/path\n0::/\n"}
            | group("memory/", str(2 * GIB), 2 * GIB, first=True),
            MemoryUsage(GIB, 2 * GIB, of_machine=False),
        ),
        # As the first version says that there is no limit.
        (
            MACHINE | {"proc/self/cgroup": "4:memory:/\n"} | group("memory/", "9223372036854771712", GIB, first=True),
            WHOLE,
        ),
    ],
)
def test_memory_is_read_of_the_tightest_limit(
    tmp_path: Path, files: dict[str, str], expected: MemoryUsage | None
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert read_memory_usage(tmp_path) == expected


def test_this_machine_says_how_much_it_uses() -> None:
    usage = read_memory_usage()
    assert usage is None or 0 < usage.percent < 100
