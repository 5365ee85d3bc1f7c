"""Sees that a process works, not only that it lives: a tool may hold a runner's interpreter lock or its event loop, and
something the loop of a web process."""

import asyncio
import signal
from pathlib import Path
from typing import Final

from bandstand.supervisor.child import Child
from bandstand.supervisor.terminal import print_error

LOOK_SECONDS: Final = 1.0
_REPORT_SECONDS: Final = 0.2


class Beats:
    """Counts how often a look at a process found its liveness file unchanged.

    Looks are counted and not seconds: what also stops the supervisor, such as a suspended machine, makes nobody silent.
    """

    def __init__(self, silent_looks: float) -> None:
        self._silent_looks = silent_looks
        self._pid: int | None = None
        self._beat: int | None = None
        self._has_beaten = False
        self._missed = 0

    def is_silent(self, pid: int | None, beat: int | None) -> bool:
        """Whether the process `pid` has touched its file before, and not any more; `beat` is the file's time. One that
        is about to start has not touched it yet."""
        if pid != self._pid:
            self._pid, self._beat, self._has_beaten, self._missed = pid, beat, False, 0
        elif beat != self._beat:
            self._beat, self._has_beaten, self._missed = beat, True, 0
        else:
            self._missed += 1
        return pid is not None and self._has_beaten and self._missed > self._silent_looks

    def excuse(self) -> None:
        """Count the looks anew: until now the process had a reason to be silent."""
        self._missed = 0


async def watch(child: Child, file: Path, *, silent_seconds: float, every_seconds: float = LOOK_SECONDS) -> None:
    """Restart the process whenever it has touched `file`, and not for `silent_seconds`; never returns."""
    beats = Beats(silent_seconds / every_seconds)
    while True:
        await asyncio.sleep(every_seconds)
        pid = child.started.pid if child.started is not None else None
        if beats.is_silent(pid, modified_at(file)):
            print_error(f"{child.role.name} has been silent for {silent_seconds:.0f} s; starting it anew")
            # It writes where it stands into its log.
            child.signal_leader(signal.SIGUSR1)
            await asyncio.sleep(_REPORT_SECONDS)
            child.crash()


def modified_at(file: Path) -> int | None:
    """The time of `file` in nanoseconds; None if it is not there."""
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None
