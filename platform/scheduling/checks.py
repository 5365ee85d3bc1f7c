"""What is checked of the scheduler and its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from checks.check import Check, Finding, Level, Link, Reader
from checks.run import Measurements
from foundation.durations import duration
from scheduling import heartbeats

# In one statement, the sign of life of the scheduler and the jobs whose last run went wrong.
_MAINTENANCE: Final = """
SELECT (SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM scheduling_heartbeat WHERE name = %s),
       (SELECT count(*) FROM scheduling_schedule AS schedule
        WHERE (SELECT status FROM scheduling_jobrun AS run WHERE run.job = schedule.job AND status <> 'running'
               ORDER BY run.id DESC LIMIT 1) IN ('failed', 'lost'))
"""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """`silent_seconds`: since the scheduler last beat, None if it never did; `failed`: jobs whose last run failed."""

    silent_seconds: float | None
    failed: int


def maintenance(measurements: Measurements) -> Maintenance:  # noqa: ARG001
    with connection.cursor() as cursor:
        cursor.execute(_MAINTENANCE, [heartbeats.SCHEDULER])
        return Maintenance(*cursor.fetchone())


def scheduler_age(measurements: Measurements) -> float | None:  # noqa: ARG001
    """Seconds since the scheduler last beat; None if it never did."""
    return heartbeats.age_seconds(heartbeats.SCHEDULER)


def is_silent(age_seconds: float | None) -> bool:
    """Whether a scheduler that last beat so long ago is taken for dead."""
    return age_seconds is None or age_seconds > heartbeats.SCHEDULER_STALE_SECONDS


def judge_scheduler(age_seconds: float | None) -> Sequence[Finding]:
    return [Finding(Level.BAD, "has not run a task lately")] if is_silent(age_seconds) else []


def judge_maintenance(measured: Maintenance) -> Sequence[Finding]:
    """A scheduler that is silent comes before what its jobs last did."""
    value, age = f"{measured.failed:,}", measured.silent_seconds
    if age is None:
        return [Finding(Level.BAD, "the scheduler has never reported", value, _START_THE_SCHEDULER)]
    if is_silent(age):
        return [Finding(Level.BAD, f"the scheduler is silent for {duration(age)}", value, _START_THE_SCHEDULER)]
    if measured.failed:
        return [Finding(Level.BAD, "of the last runs failed", value)]
    return [Finding(Level.GOOD, "every last run went well", value)]


_START_THE_SCHEDULER: Final = "Start the scheduler; var/logs/scheduler.log says why it stopped."

CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="scheduler",
        title="Scheduler",
        measure=scheduler_age,
        judge=judge_scheduler,
        alarms_when="the scheduler is silent",
        remedy=_START_THE_SCHEDULER,
        readers=frozenset({Reader.READY}),
        order=50,
        link=Link("admin:scheduling_schedule_changelist"),
    ),
    Check(
        name="maintenance",
        title="Maintenance",
        measure=maintenance,
        judge=judge_maintenance,
        alarms_when="the last run of a job failed, or the scheduler is silent",
        remedy="Open the job: its last run says what went wrong. Run now tries it again.",
        readers=frozenset({Reader.OVERVIEW}),
        order=150,
        link=Link("admin:scheduling_schedule_changelist"),
        permissions=("scheduling.view_schedule",),
        is_metric=True,
    ),
)
