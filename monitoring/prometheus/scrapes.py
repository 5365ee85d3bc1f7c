"""A scrape: all figures as text, read at most every ten seconds by one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError

from foundation.clock import now
from foundation.db_timeouts import statement_timeout
from monitoring.prometheus import families
from monitoring.prometheus.counters import read_counters
from monitoring.prometheus.exposition import TextFormat, render
from monitoring.prometheus.families import Figures
from monitoring.prometheus.live_state import read_live_state
from monitoring.prometheus.process_state import read_process_state

T = TypeVar("T")

log = structlog.get_logger(__name__)

CACHE_SECONDS: Final = 10.0
# Prometheus waits for ten seconds.
ANSWER_SECONDS: Final = 8.0
STATEMENT_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """Figures, and the texts that were made of them so far."""

    figures: Figures
    texts: dict[TextFormat, bytes]


def read_figures(version: str) -> Figures:
    """Everything that is to be said. A database that does not answer is a figure, too."""
    start = time.perf_counter()
    figures = Figures()
    try:
        with statement_timeout(STATEMENT_SECONDS):
            read_counters(figures)
            read_live_state(figures, now())
            read_process_state(figures)
    except (DatabaseError, InterfaceError) as error:
        log.warning("scrape.failed", reason=str(error))
        return unread_figures(version)
    figures.set(families.BUILD_INFO, 1, version)
    figures.set(families.DATABASE_UP, 1)
    figures.set(families.SCRAPE_SECONDS, time.perf_counter() - start)
    return figures


def unread_figures(version: str) -> Figures:
    """What is said when the database does not answer in time."""
    figures = Figures()
    figures.set(families.BUILD_INFO, 1, version)
    figures.set(families.DATABASE_UP, 0)
    return figures


class ScrapeCache:
    """The last reading, for ten seconds. Who asks while one is under way gets the same.

    `start` runs a function in a thread of its own. Belongs to one event loop.
    """

    def __init__(
        self,
        read: Callable[[], Figures],
        start: Callable[[Callable[[], Any]], Future[Any]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._read = read
        self._start = start
        self._clock = clock
        self._reading: Future[Reading] | None = None
        self._read_at = -CACHE_SECONDS

    async def text(self, text_format: TextFormat) -> bytes:
        """The figures in a format. Raises `TimeoutError` when they are not there in time; the reading goes on then."""
        if self._reading is None or (self._reading.done() and self._clock() >= self._read_at + CACHE_SECONDS):
            self._reading = self._start(partial(self._read_and_render, text_format))
        reading = await _wait(self._reading)
        if text_format not in reading.texts:
            reading.texts[text_format] = await _wait(self._start(partial(render, reading.figures, text_format)))
        return reading.texts[text_format]

    def _read_and_render(self, text_format: TextFormat) -> Reading:
        # From its begin: what happens during the reading may be missing in it.
        self._read_at = self._clock()
        figures = self._read()
        return Reading(figures, {text_format: render(figures, text_format)})


async def _wait(future: Future[T]) -> T:
    return await asyncio.wait_for(asyncio.shield(asyncio.wrap_future(future)), ANSWER_SECONDS)
