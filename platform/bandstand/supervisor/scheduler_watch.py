"""Sees that the scheduler works, not only that it lives: django-q2 can freeze when one of its workers dies.

That is django-q2/django-q2#23, open when 1.11.1 was the newest version. Its liveness file says so within seconds; its
heartbeat in the database, after minutes, also if nothing is queued that is due.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psycopg
from psycopg.rows import scalar_row

from bandstand.liveness_probe import SCHEDULER_SILENT_SECONDS
from bandstand.supervisor.child import Child
from bandstand.supervisor.liveness_watch import Beats, modified_at

CHECK_INTERVAL_SECONDS: Final = 20.0
STALE_SECONDS: Final = 180.0
# So often in a row: after an outage of the database, or of the whole machine, the next heartbeat takes a minute.
STALE_LOOKS: Final = 4
QUERY: Final = (
    "SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM scheduling_heartbeat WHERE name = 'scheduler'"
)


def is_frozen(lived_seconds: float, age_seconds: float | None, *, stale_seconds: float = STALE_SECONDS) -> bool:
    """Whether the scheduler hangs: it has run for `lived_seconds`, and the age of its last heartbeat is
    `age_seconds` (None: no heartbeat yet)."""
    return lived_seconds > stale_seconds and (age_seconds is None or age_seconds > stale_seconds)


async def watch_beats(
    scheduler: Child,
    file: Path,
    *,
    has_database: Callable[[], bool],
    on_frozen: Callable[[str], None],
    silent_seconds: float = SCHEDULER_SILENT_SECONDS,
    every_seconds: float = 1.0,
) -> None:
    """Restart the scheduler whenever it has touched `file`, and not for `silent_seconds`; never returns.

    One that waits for a database that does not answer is left alone. `on_frozen` is called with the reason."""
    beats = Beats(silent_seconds / every_seconds)
    while True:
        await asyncio.sleep(every_seconds)
        pid = scheduler.started.pid if scheduler.started is not None else None
        is_silent = beats.is_silent(pid, modified_at(file))
        if not has_database():
            beats.excuse()  # also for as long as it needs when the database answers again
        elif is_silent:
            on_frozen(f"it has been silent for {silent_seconds:.0f} s, and is started anew")
            await scheduler.restart()


async def watch_heartbeat(
    scheduler: Child, url: str, *, on_frozen: Callable[[str], None], every_seconds: float = CHECK_INTERVAL_SECONDS
) -> None:
    """Restart the scheduler whenever its heartbeat in the database is too old; never returns. `on_frozen` is called
    with the reason."""
    stale_looks = 0
    while True:
        await asyncio.sleep(every_seconds)
        try:
            age = await asyncio.to_thread(_age_seconds, url)
        except psycopg.Error:
            stale_looks = 0  # no heartbeat can be written without a database
            continue
        is_stale = scheduler.started is not None and is_frozen(time.monotonic() - scheduler.started_at, age)
        stale_looks = stale_looks + 1 if is_stale else 0
        if stale_looks >= STALE_LOOKS:
            on_frozen("it has not run a task for four minutes, and is started anew")
            await scheduler.restart()


def _age_seconds(url: str) -> float | None:
    with psycopg.connect(url, autocommit=True, connect_timeout=5, application_name="bandstand-watchdog") as connection:
        cursor = connection.cursor(row_factory=scalar_row)
        age: float | None = cursor.execute(QUERY).fetchone()
        return age
