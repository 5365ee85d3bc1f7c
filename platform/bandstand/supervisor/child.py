"""One supervised process: started, and restarted when it exits."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bandstand.config import ROOT
from bandstand.supervisor import process_records
from bandstand.supervisor.process_records import ChildProcess
from bandstand.supervisor.terminal import print_error
from foundation.private_files import open_private

FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 30.0
HEALTHY_AFTER_SECONDS: Final = 10.0
TERM_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What a child runs: `manage.py <command>`, with `environment` added to ours and its own end of `sockets`."""

    name: str
    command: str
    environment: dict[str, str] = field(default_factory=dict)
    sockets: tuple[int, ...] = ()


def next_pause(pause_seconds: float, lived_seconds: float) -> float:
    """Seconds to wait before restarting a child that ran for `lived_seconds`; `pause_seconds` is the previous pause."""
    if lived_seconds >= HEALTHY_AFTER_SECONDS or pause_seconds == 0:
        return FIRST_PAUSE_SECONDS
    return min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)


class Child:
    """A role's process, in its own process session, so that Ctrl-C in the terminal reaches the supervisor only."""

    def __init__(self, role: ChildSpec, log: Path, changed: Callable[[], None]) -> None:
        self.role = role
        self.log = log
        self.failures = 0
        self.last_status: int | None = None
        self.started: ChildProcess | None = None
        self.started_at = 0.0
        self._changed = changed
        self._process: asyncio.subprocess.Process | None = None
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the process and keep it running."""
        self._task = asyncio.create_task(self._keep(), name=self.role.name)

    async def restart(self) -> None:
        """Terminate the process, by SIGKILL after a second; it is restarted like one that crashed."""
        process = self.started
        self.signal_leader(signal.SIGTERM)
        await asyncio.sleep(TERM_SECONDS)
        if self.started is process:  # else it has ended, and this is its successor
            self._kill_group()

    def crash(self) -> None:
        """Kill the process with its group; it is restarted like any that crashed."""
        self._kill_group()

    def request_stop(self) -> None:
        """Send SIGTERM and stop restarting."""
        self._ending = True
        if self._process is None and self._task is not None:
            self._task.cancel()  # during the pause before a restart
        self.signal_leader(signal.SIGTERM)

    async def end(self, within_seconds: float) -> bool:
        """Wait for the process to exit after :meth:`request_stop`, then kill it; return whether it exited in time."""
        if self._task is None:
            return True
        done, _ = await asyncio.wait([self._task], timeout=within_seconds)
        if not done:
            self._kill_group()
            await asyncio.wait([self._task], timeout=3.0)
        return bool(done)

    def kill(self) -> None:
        """Kill the process and stop restarting."""
        self._ending = True
        self._kill_group()

    def signal_leader(self, number: signal.Signals) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _keep(self) -> None:
        pause = 0.0
        while not self._ending:
            start = time.monotonic()
            status = await self._try_to_live()
            if self._ending:
                return
            self.failures += 1
            self.last_status = status
            pause = next_pause(pause, time.monotonic() - start)
            print_error(
                f"{self.role.name} ended ({_describe_status(status)}), starting it again in {pause:.1f} s; "
                f"see {self.log}"
            )
            await asyncio.sleep(pause)

    async def _try_to_live(self) -> int:
        try:
            return await self._live()
        except OSError as error:  # no memory, no descriptor, no room for its log
            print_error(f"{self.role.name} cannot be started: {error.strerror}")
            return os.EX_OSERR

    async def _live(self) -> int:
        with open_private(self.log, "ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                str(ROOT / "manage.py"),
                self.role.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.role.environment},
                pass_fds=self.role.sockets,
                start_new_session=True,
            )
        self.started_at = time.monotonic()
        self.started = process_records.describe(self.role.name, self._process.pid)
        self._changed()
        if self._ending:  # stopped while it was starting
            self.signal_leader(signal.SIGTERM)
        try:
            return await self._process.wait()
        finally:
            self._kill_group()  # its children, such as the scheduler's workers
            self._process, self.started = None, None
            self._changed()

    def _kill_group(self) -> None:
        if self.started is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.started.pid, signal.SIGKILL)


def _describe_status(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            return signal.Signals(-status).name
    return f"status {status}"
