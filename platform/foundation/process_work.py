"""Background work that apps add to the processes of the installation, such as writing spans and samples.

An app registers a factory in `AppConfig.ready()`; a process opens the work of its kind when it starts and closes it at
its end. Registering keeps the layers apart: a runner runs what `monitoring` brings without importing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from foundation.spans import SpanBuffer

log = structlog.get_logger(__name__)


class ProcessKind(StrEnum):
    """What a process is for."""

    RUNNER = "runner"
    WEB = "web"


@dataclass(frozen=True, slots=True)
class Process:
    """A process as its background work sees it. `figures` returns its own figures of now by name, as JSON has them, and
    may be called in any thread; `spans` is where it records what it did."""

    kind: ProcessKind
    id: UUID
    figures: Callable[[], Mapping[str, Any]]
    spans: SpanBuffer


class BackgroundWork(Protocol):
    """Something with threads of its own, which must not fail its process."""

    def start(self) -> None: ...

    def stop(self) -> None:
        """Finish what must not be lost, within a few seconds."""
        ...


Factory = Callable[[Process], BackgroundWork | None]


class ProcessWorkRegistry:
    """The factories, in the order in which they were registered. One that returns None has no work for the process."""

    def __init__(self) -> None:
        self._factories: list[Factory] = []

    def register(self, factory: Factory) -> None:
        """Add a factory."""
        self._factories.append(factory)

    @contextmanager
    def running(self, process: Process) -> Iterator[None]:
        """Run the background work of `process` inside; stopped in reverse order. What fails to stop is logged."""
        started: list[BackgroundWork] = []
        try:
            for factory in self._factories:
                if (work := factory(process)) is not None:
                    work.start()
                    started.append(work)
            yield
        finally:
            for work in reversed(started):
                try:
                    work.stop()
                except Exception:
                    log.exception("background_work.not_stopped", work=type(work).__name__)


process_work: Final = ProcessWorkRegistry()
