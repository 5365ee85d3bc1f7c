"""What the kernel is asked for: that children end with their parents, and what a process may use."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_OPEN_FILES: Final = 256
_FILE_BYTES: Final = 16 * 1024 * 1024
_NICENESS: Final = 19


def compute_cores() -> frozenset[int]:
    """The cores that the pool may keep busy: all that this process may use but one, and one at least."""
    cores = sorted(os.sched_getaffinity(0))
    return frozenset(cores[1:] or cores)


def adopt_orphans() -> None:
    """Processes whose parent has ended become children of this process instead of the machine's first one."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent`, whose child it is, ends; exit at once if it has."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def restrict(cores: frozenset[int], memory_bytes: int) -> None:
    """Take from this process, and from all that it starts, what a worker must not have: priority, cores, more than
    `memory_bytes` beyond its present address space, large files, new rights."""
    limit_resources(memory_bytes, file_bytes=_FILE_BYTES)
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    with suppress(OSError):  # the machine's administrator has changed what we may use
        os.sched_setaffinity(0, cores)


def limit_resources(memory_bytes: int, *, file_bytes: int) -> None:
    """Bound what this process, and all that it starts, may use: address space beyond the present one, the size of
    files, descriptors. It gets no new rights, and goes first when the machine runs out of memory."""
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    for limit, value in (
        (resource.RLIMIT_AS, used + memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (allowed, allowed))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def children() -> set[int]:
    """The processes whose parent this process is."""
    own = os.getpid()
    try:
        return set(map(int, Path(f"/proc/{own}/task/{own}/children").read_text(encoding="ascii").split()))
    except OSError:  # a kernel without that file
        return {pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _parent(pid) == own}


def _parent(pid: int) -> int:
    try:
        # The name, in parentheses, may hold spaces and parentheses itself.
        return int(
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1]
        )
    except (OSError, IndexError, ValueError):
        return 0


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
