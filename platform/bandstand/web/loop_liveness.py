"""A file that a web process touches each second, as long as its event loop runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from foundation.liveness_file import touch_liveness_file

TOUCH_SECONDS: Final = 1.0


class LoopLiveness:
    """Touches `file` from `start` to `stop`, on the event loop itself: one that stands still lets it grow old. Without
    a file there is nothing to do."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it."""
        if self._file is not None:
            self._task = asyncio.create_task(self._touch(self._file), name="liveness")

    async def stop(self) -> None:
        """Stop it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _touch(self, file: Path) -> None:
        while True:
            touch_liveness_file(file)
            await asyncio.sleep(TOUCH_SECONDS)
