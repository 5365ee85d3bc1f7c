"""How much memory there is: of the lowest limit that a process is under."""

from __future__ import annotations

from pathlib import Path

from foundation.process_memory import MemoryUse, read_memory_use, resident_bytes

MIB = 1024 * 1024
MEMINFO = "MemTotal:       1024 kB\nMemFree:         64 kB\nMemAvailable:    256 kB\nHugePages_Total:   0\n"
MACHINE = MemoryUse(768 * 1024, 1024 * 1024, of_machine=True)


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def proc(root: Path, groups: str) -> Path:
    write(root / "proc", meminfo=MEMINFO)
    write(root / "proc" / "self", cgroup=groups)
    return root / "proc"


def test_without_control_groups_it_is_the_machine_s(tmp_path: Path) -> None:
    assert read_memory_use(proc(tmp_path, "0::/\n"), tmp_path / "none") == MACHINE


def test_the_lowest_limit_of_a_group_and_those_above_it_counts_without_files_that_are_only_cached(
    tmp_path: Path,
) -> None:
    groups = tmp_path / "groups"
    stat = "anon 1\ninactive_file 100\n"
    write(groups / "pod", memory__max="5000\n", memory__current="900\n", memory__stat=stat)
    write(groups / "pod" / "app", memory__max="max\n", memory__current="800\n", memory__stat=stat)
    assert read_memory_use(proc(tmp_path, "0::/pod/app\n"), groups) == MemoryUse(800, 5000)


def test_inside_a_container_its_group_is_the_root(tmp_path: Path) -> None:
    write(tmp_path / "groups", memory__max="5000\n", memory__current="900\n")
    assert read_memory_use(proc(tmp_path, "0::/\n"), tmp_path / "groups") == MemoryUse(900, 5000)


def test_the_first_version_of_control_groups_is_read_also_where_its_path_cannot_be_seen(tmp_path: Path) -> None:
    write(
        tmp_path / "groups" / "memory",
        memory__limit_in_bytes="4000",
        memory__usage_in_bytes="1500",
        memory__stat="total_inactive_file 500\n",
    )
    found = read_memory_use(proc(tmp_path, "5:cpu:/x\n4:memory:/docker/abc\n0::/\n"), tmp_path / "groups")
    assert found == MemoryUse(1000, 4000)


def test_a_group_that_may_use_more_than_there_is_has_no_limit(tmp_path: Path) -> None:
    write(
        tmp_path / "groups" / "memory",
        memory__limit_in_bytes="9223372036854771712",
        memory__usage_in_bytes="1500",
    )
    assert read_memory_use(proc(tmp_path, "4:memory:/\n"), tmp_path / "groups") == MACHINE


def test_this_process_has_some_memory_also_where_there_is_no_proc(tmp_path: Path) -> None:
    assert resident_bytes() > 10 * MIB
    assert resident_bytes(tmp_path) >= 10 * MIB


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path) -> None:
    found = read_memory_use(tmp_path, tmp_path)
    assert found.used_bytes is None
    assert found.limit_bytes is None or found.limit_bytes > MIB
