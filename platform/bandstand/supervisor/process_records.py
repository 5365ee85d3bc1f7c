"""The processes that a supervisor started, recorded so that its successor can find them."""

import json
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import psutil

from foundation.private_files import write_private

FILE: Final = "processes.json"
CLOCK_STEP_SECONDS: Final = 2.0  # start times are computed from the boot time, which moves when the clock is set
TERM_SECONDS: Final = 2.0
KILL_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class ChildProcess:
    """A child that leads its own session: `pid` is the id of the process, its group and its session."""

    name: str
    pid: int
    started_at: float


def describe(name: str, pid: int) -> ChildProcess:
    """Return the record of a child that was just started; `started_at` is 0.0 if it has ended already."""
    try:
        return ChildProcess(name, pid, psutil.Process(pid).create_time())
    except psutil.Error:
        return ChildProcess(name, pid, 0.0)


def write(folder: Path, children: Iterable[ChildProcess]) -> None:
    """Record `children` for the next start. Raises `OSError`."""
    content = json.dumps([asdict(child) for child in children]) + "\n"
    try:
        write_private(folder / FILE, content)
    except OSError:
        # On a full disk the room of the record before is all there is. A crash in between leaves none that can be read.
        _overwrite(folder / FILE, content)


def _overwrite(path: Path, content: str) -> None:
    with path.open("r+", encoding="utf-8") as file:
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def read(folder: Path, file: str = FILE) -> list[ChildProcess]:
    """The children that the previous supervisor recorded, or that recorded themselves in another `file`; empty for a
    missing or damaged one."""
    try:
        return [ChildProcess(**child) for child in json.loads((folder / file).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return []


def members(child: ChildProcess) -> list[psutil.Process]:
    """The running processes of the child's session; empty if its pid has been reused."""
    alive = []
    for pid in psutil.pids():
        with suppress(psutil.Error, OSError):
            if os.getsid(pid) != child.pid:
                continue
            process = psutil.Process(pid)
            if pid == child.pid and abs(process.create_time() - child.started_at) > CLOCK_STEP_SECONDS:
                return []
            if process.status() != psutil.STATUS_ZOMBIE:
                alive.append(process)
    return alive


def end(children: Iterable[ChildProcess]) -> list[str]:
    """Stop the running ones of `children`: SIGTERM to the leaders, then SIGKILL to all; return their names."""
    alive_by_child = {child: alive for child in children if (alive := members(child))}
    for child, alive in alive_by_child.items():
        # The leader only: django-q2's workers die of a group's SIGTERM while its leader waits for them for ever
        # (Koed00/django-q#200, as it was in 1.11.1 of django-q2).
        leader = [process for process in alive if process.pid == child.pid]
        _send(leader or alive, signal.SIGTERM)
    _wait(alive_by_child, TERM_SECONDS)
    for child in alive_by_child:
        _send(members(child), signal.SIGKILL)
    _wait(alive_by_child, KILL_SECONDS)
    return [child.name for child in alive_by_child]


def _send(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):  # psutil compares start times before it sends
            process.send_signal(number)


def _wait(children: Iterable[ChildProcess], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(members(child) for child in children):
        time.sleep(0.05)
