"""One child process: started, watched, hit with signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from tests.chaos.waiting import until
from tests.support.surroundings import share_static_files

STARTED = "runner.started"
ROOT = Path(__file__).resolve().parents[2]


class Program:
    """A running `python -m …` of the repository. `ended_by_us` says whether its end was wanted."""

    def __init__(self, name: str, arguments: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self.ended_by_us = False
        self._started = False
        if "runweb" in arguments:
            share_static_files(Path(env["BANDSTAND_DATA_DIR"]))
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives; negative: the signal that ended it."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    @property
    def stopped(self) -> bool:
        """Whether it stands still after a SIGSTOP."""
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    @property
    def started(self) -> bool:
        """Whether a runner has registered itself."""
        self._started = self._started or STARTED in self.log.read_text(encoding="utf-8", errors="replace")
        return self._started

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone."""
        self.ended_by_us = True
        self.signal(signal.SIGKILL)
        self._process.wait(10)

    async def gone(self, *, seconds: float, why: str) -> int:
        """Wait for its end; the exit code. Raises `NotSeen`."""
        await until(lambda: not self.alive, seconds=seconds, what=f"the end of {self.name} {why}")
        assert self.exit_code is not None
        return self.exit_code
