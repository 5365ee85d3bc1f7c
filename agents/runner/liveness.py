"""Whether the event loop of a runner still runs, seen from a thread; and a file that says so to whoever watches it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import structlog

from foundation.liveness_file import touch_liveness_file

log = structlog.get_logger(__name__)

_BLOCKED_SECONDS = 3.0  # it is asked to run each second


class Liveness:
    """`is_blocked`: the event loop has not run for three seconds, so it should get no more work. `is_stalled`: not
    for `stalled_seconds`, as when a tool blocks it for ever.

    As long as it is not stalled, each call of `check` sets the time of `file`. A process whose interpreter's lock is
    held cannot call it, so the file grows old in either case.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, file: Path | None, stalled_seconds: float) -> None:
        self._loop = loop
        self._file = file
        self._stalled_seconds = stalled_seconds
        self._ran_at = time.monotonic()
        self._was_stalled = False

    @property
    def is_blocked(self) -> bool:
        return time.monotonic() - self._ran_at > _BLOCKED_SECONDS

    @property
    def is_stalled(self) -> bool:
        return time.monotonic() - self._ran_at > self._stalled_seconds

    def check(self) -> None:
        """Look once; called from a thread, each second."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._run)
        if self.is_stalled:
            if not self._was_stalled:
                log.error("event_loop.stalled", seconds=round(self._stalled_seconds))
            self._was_stalled = True
            return
        self._was_stalled = False
        if self._file is not None:
            touch_liveness_file(self._file)

    def _run(self) -> None:
        self._ran_at = time.monotonic()
