"""Sees that the scheduler works, not only that it lives: django-q2 can freeze when one of its workers dies.

That is django-q2/django-q2#23, open when 1.11.1 was the newest version.
"""

import asyncio
import time
from typing import Final

import psycopg
from psycopg.rows import scalar_row

from bandstand.supervisor.child import Child
from bandstand.supervisor.terminal import print_error

EVERY_SECONDS: Final = 20.0
STALE_SECONDS: Final = 240.0
QUERY: Final = (
    "SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM scheduling_heartbeat WHERE name = 'scheduler'"
)


def is_frozen(lived_seconds: float, age_seconds: float | None, *, stale_seconds: float = STALE_SECONDS) -> bool:
    """Whether a scheduler that lives for so long, and whose last beat is so old (None: never), does not work."""
    return lived_seconds > stale_seconds and (age_seconds is None or age_seconds > stale_seconds)


async def watch(scheduler: Child, url: str, *, every_seconds: float = EVERY_SECONDS) -> None:
    """Start the scheduler anew whenever it is frozen; for ever."""
    while True:
        await asyncio.sleep(every_seconds)
        try:
            age = await asyncio.to_thread(_age_seconds, url)
        except psycopg.Error:
            continue  # without a database nothing can beat
        if scheduler.started is not None and is_frozen(time.monotonic() - scheduler.started_at, age):
            print_error("the scheduler has not run a task for four minutes; starting it anew")
            await scheduler.restart()


def _age_seconds(url: str) -> float | None:
    with psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="bandstand-watchdog") as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        age: float | None = cursor.execute(QUERY).fetchone()
        return age
