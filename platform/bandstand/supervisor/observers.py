"""What one look of the watchdog sees: the database, the disk, and the processes."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import psycopg

from bandstand.boot_checks import describe_connection_error
from bandstand.supervisor import probe
from bandstand.supervisor.condition_episodes import Observation, Subject
from bandstand.supervisor.conditions import Condition
from bandstand.supervisor.liveness_watch import modified_at

LOOK_TIMEOUT_SECONDS: Final = 5.0
MEBIBYTE: Final = 1024 * 1024
DISK_MARGIN_BYTES: Final = 256 * MEBIBYTE
# A process that has ended so often within the window keeps ending, until it has not for the pause.
ENDS: Final = 3
ENDS_WINDOW_SECONDS: Final = 300.0
ENDS_PAUSE_SECONDS: Final = 120.0

Observations = Mapping[Subject, Observation]


class Observer(Protocol):
    """One kind of look."""

    @property
    def needs_database(self) -> bool:
        """Whether without a database nothing can be learned from it."""
        ...

    async def look(self) -> Observations:
        """What is seen now, within `LOOK_TIMEOUT_SECONDS`."""
        ...


class DatabaseObserver:
    """Opens a connection each time, as whoever needs the database must be able to."""

    needs_database = False

    def __init__(self, url: Callable[[], str]) -> None:
        self._url = url

    async def look(self) -> Observations:
        subject = Subject(Condition.DATABASE_DOWN)
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                connection = await psycopg.AsyncConnection.connect(
                    self._url(), autocommit=True, application_name="bandstand-watchdog"
                )
                try:
                    await connection.execute("SELECT 1")
                finally:
                    await connection.close()
        except TimeoutError:
            return {subject: Observation(is_bad=True, detail=f"no answer within {LOOK_TIMEOUT_SECONDS:.0f} s")}
        except (psycopg.Error, OSError, ValueError) as error:
            return {subject: Observation(is_bad=True, detail=describe_connection_error(error))}
        return {subject: Observation(is_bad=False)}


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The room of a file system for programs without privileges, in bytes."""

    total: int
    free: int

    @property
    def percent(self) -> float:
        return 100.0 * (self.total - self.free) / self.total if self.total else 0.0


def read_disk_usage(folder: Path) -> DiskUsage:
    """The room of the file system of `folder`. Raises `OSError`."""
    status = os.statvfs(folder)
    # As df counts: what is reserved for root is no room.
    used = (status.f_blocks - status.f_bfree) * status.f_frsize
    free = status.f_bavail * status.f_frsize
    return DiskUsage(used + free, free)


class DiskObserver:
    """The fullest of the file systems of `folders`. Once it is full it counts as full until there is a tenth more room
    than the limit, or `DISK_MARGIN_BYTES`, so that a log file does not wake somebody each minute."""

    needs_database = False

    def __init__(
        self,
        folders: Callable[[], Iterable[Path]],
        *,
        full_percent: float,
        free_bytes: int,
        read: Callable[[Path], DiskUsage] = read_disk_usage,
    ) -> None:
        self._folders = folders
        self._full_percent = full_percent
        self._free_bytes = free_bytes
        self._read = read
        self._is_full = False
        self._reading: asyncio.Future[list[tuple[Path, DiskUsage]]] | None = None

    async def look(self) -> Observations:
        subject = Subject(Condition.DISK_FULL)
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_SECONDS):
                # In a thread: a network drive may not answer. Only one waits for it: the others are needed elsewhere.
                if self._reading is None or self._reading.done():
                    self._reading = asyncio.ensure_future(asyncio.to_thread(self._read_all))
                usages = await asyncio.shield(self._reading)
        except (TimeoutError, OSError) as error:
            return {subject: Observation(is_bad=None, detail=type(error).__name__)}
        full = [(folder, usage) for folder, usage in usages if self._is_over(usage)]
        self._is_full = bool(full)
        if not full:
            return {subject: Observation(is_bad=False)}
        folder, usage = max(full, key=lambda one: one[1].percent)
        detail = f"{folder} is {usage.percent:.0f} % full, {usage.free // MEBIBYTE:,} MB are free"
        return {subject: Observation(is_bad=True, detail=detail)}

    def _read_all(self) -> list[tuple[Path, DiskUsage]]:
        return [(folder, self._read(folder)) for folder in self._folders()]

    def _is_over(self, usage: DiskUsage) -> bool:
        full_percent, free_bytes = self._full_percent, float(self._free_bytes)
        if self._is_full:
            full_percent -= (100 - full_percent) / 10
            free_bytes += min(free_bytes / 10, DISK_MARGIN_BYTES)
        return usage.percent >= full_percent or usage.free < free_bytes


class BeatObserver:
    """The liveness files of processes: one at least must have been touched since the last look."""

    needs_database = True

    def __init__(self, condition: Condition, files: Iterable[Path]) -> None:
        self._subject = Subject(condition)
        self._times: dict[Path, int | None] = dict.fromkeys(files)

    async def look(self) -> Observations:
        has_beaten = False
        for file, before in self._times.items():
            self._times[file] = modified = modified_at(file)
            has_beaten |= modified is not None and modified != before
        return {self._subject: Observation(is_bad=not has_beaten)}


class WebObserver:
    """Asks whichever web process takes the connection whether it lives."""

    needs_database = True

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def look(self) -> Observations:
        answer = await probe.get(self._host, self._port, "/health", seconds=LOOK_TIMEOUT_SECONDS)
        return {Subject(Condition.WEB_DOWN): Observation(is_bad=answer is None)}


class Restarted(Protocol):
    """A process that is started again whenever it ends."""

    @property
    def failures(self) -> int:
        """How often it has ended by itself."""
        ...


@dataclass(slots=True)
class _Ends:
    failures: int
    times: deque[float] = field(default_factory=lambda: deque(maxlen=ENDS))
    is_bad: bool = False


class RestartObserver:
    """How often each process has ended lately."""

    def __init__(
        self,
        processes: Mapping[str, Restarted],
        *,
        needs_database: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.needs_database = needs_database
        self._processes = processes
        self._clock = clock
        self._ends = {name: _Ends(process.failures) for name, process in processes.items()}

    async def look(self) -> Observations:
        return {
            Subject(Condition.PROCESS_KEEPS_ENDING, name): self._look(name, process)
            for name, process in self._processes.items()
        }

    def forget(self) -> None:
        """Count anew: without a database every process ends."""
        self._ends = {name: _Ends(process.failures) for name, process in self._processes.items()}

    def _look(self, name: str, process: Restarted) -> Observation:
        ends, now = self._ends[name], self._clock()
        ended, ends.failures = process.failures - ends.failures, process.failures
        ends.times.extend([now] * ended)
        if ended and len(ends.times) == ENDS and now - ends.times[0] <= ENDS_WINDOW_SECONDS:
            ends.is_bad = True
        elif ends.is_bad and now - ends.times[-1] > ENDS_PAUSE_SECONDS:
            ends.is_bad = False
        return Observation(is_bad=ends.is_bad, detail=name)
