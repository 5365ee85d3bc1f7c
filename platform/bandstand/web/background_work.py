"""The background work that apps bring to a web process, as a part of its life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from bandstand.web.lifecycle import Lifecycle
from bandstand.web.request_counters import request_counters
from foundation.ids import new_id
from foundation.process_work import Process, ProcessKind, process_work
from foundation.spans import process_spans


class BackgroundWorkPart:
    """Runs the work from `start` to `stop`. The figures of the process are those of its requests and `more_figures`."""

    def __init__(self, lifecycle: Lifecycle, more_figures: Callable[[], Mapping[str, Any]]) -> None:
        self.process = Process(ProcessKind.WEB, new_id(), self._figures, process_spans)
        self._lifecycle = lifecycle
        self._more_figures = more_figures
        self._stack = ExitStack()

    async def start(self) -> None:
        """Start it."""
        self._stack.enter_context(process_work.running(self.process))

    async def stop(self) -> None:
        """Stop it, in a thread: it may wait for the database."""
        await asyncio.to_thread(self._stack.close)

    def _figures(self) -> dict[str, Any]:
        status = "draining" if self._lifecycle.draining else "running"
        return {"status": status, **request_counters.figures(), **self._more_figures()}
