"""Finds the running processes of a cluster."""

import os
import signal
import time
from pathlib import Path

import psutil

PID_FILE = "postmaster.pid"


def recorded_pid(data: Path) -> int | None:
    """The process id in the server's own pid file, whether or not that process still runs."""
    try:
        return int((data / PID_FILE).read_text(encoding="utf-8").split("\n", 1)[0])
    except (OSError, ValueError):
        return None


def accepts_connections(data: Path, pid: int) -> bool:
    """Whether the server `pid` says in its pid file that it is ready."""
    try:
        lines = (data / PID_FILE).read_text(encoding="utf-8").split("\n")
    except OSError:
        return False
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def belongs(pid: int, data: Path) -> bool:
    """Whether `pid` is a running PostgreSQL process of the cluster in `data`, and not a reused pid."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or "postgres" not in process.name():
            return False
        # The working directory of the server and its children is the data directory.
        return os.path.realpath(process.cwd()) == os.path.realpath(data)
    except psutil.Error:
        return False


def server_pid(data: Path) -> int | None:
    """The process id of the running server in `data`, if there is one."""
    pid = recorded_pid(data)
    return pid if pid is not None and belongs(pid, data) else None


def end_leftovers(data: Path, *, within_seconds: float = 5.0) -> None:
    """Wait for the children of a killed server to exit, then kill those that remain.

    They notice its death themselves, but a new server refuses to start until they are gone.
    """
    deadline = time.monotonic() + within_seconds
    while remaining := [pid for pid in psutil.pids() if belongs(pid, data)]:
        if time.monotonic() > deadline:
            for pid in remaining:
                _signal(pid, signal.SIGKILL)
        time.sleep(0.02)


def wait_until_gone(pid: int, data: Path, *, within_seconds: float) -> bool:
    """Wait for the process to end; return whether it did within `within_seconds`."""
    deadline = time.monotonic() + within_seconds
    while belongs(pid, data):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
