"""Checks of the scheduler and its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from foundation.durations import duration
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements
from scheduling import heartbeats

# The age of the scheduler's heartbeat, the number of jobs whose last run failed, and that of enabled schedules which
# django-q2 does not have, in one statement.
_MAINTENANCE: Final = """
SELECT (SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM scheduling_heartbeat WHERE name = %s),
       (SELECT count(*) FROM scheduling_schedule AS schedule
        WHERE (SELECT status FROM scheduling_jobrun AS run WHERE run.job = schedule.job AND status <> 'running'
               ORDER BY run.id DESC LIMIT 1) IN ('failed', 'lost')),
       (SELECT count(*) FROM scheduling_schedule AS schedule WHERE enabled
          AND NOT EXISTS (SELECT FROM django_q_schedule AS q2 WHERE q2.name = schedule.job))
"""


@dataclass(frozen=True, slots=True)
class Maintenance:
    """`silent_seconds`: since the scheduler's last heartbeat, or None; `failed`: jobs whose last run failed.

    `rejected`: enabled schedules that the scheduler does not have, because their timing cannot be read.
    """

    silent_seconds: float | None
    failed: int
    rejected: int = 0


def maintenance(measurements: Measurements) -> Maintenance:  # noqa: ARG001
    """The state of the scheduler and its jobs, by one query."""
    with connection.cursor() as cursor:
        cursor.execute(_MAINTENANCE, [heartbeats.SCHEDULER])
        return Maintenance(*cursor.fetchone())


def scheduler_age(measurements: Measurements) -> float | None:  # noqa: ARG001
    """Seconds since the last heartbeat of the scheduler; None if there was none."""
    return heartbeats.age_seconds(heartbeats.SCHEDULER)


def is_silent(age_seconds: float | None) -> bool:
    """Whether a scheduler with a heartbeat of this age counts as dead."""
    return age_seconds is None or age_seconds > heartbeats.SCHEDULER_STALE_SECONDS


def evaluate_scheduler(age_seconds: float | None) -> Sequence[Finding]:
    return [Finding(Level.BAD, "has not run a task lately")] if is_silent(age_seconds) else []


def evaluate_maintenance(measured: Maintenance) -> Sequence[Finding]:
    """The number of failed jobs; a silent scheduler takes precedence."""
    value, age = f"{measured.failed:,}", measured.silent_seconds
    if age is None:
        return [Finding(Level.BAD, "the scheduler has never reported", value, _START_THE_SCHEDULER)]
    if is_silent(age):
        return [Finding(Level.BAD, f"the scheduler is silent for {duration(age)}", value, _START_THE_SCHEDULER)]
    if measured.rejected:
        text = "of the schedules cannot be read and never run"
        remedy = "Open it and save a timing that can be read."
        return [Finding(Level.BAD, text, f"{measured.rejected:,}", remedy, _schedules_link(trouble="rejected"))]
    if measured.failed:
        return [Finding(Level.BAD, "of the last runs failed", value)]
    return [Finding(Level.GOOD, "every last run went well", value)]


def _schedules_link(**query: str) -> Link:
    return Link("admin:scheduling_schedule_changelist", query=query)


_START_THE_SCHEDULER: Final = "Start the scheduler; var/logs/scheduler.log says why it stopped."

CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="scheduler",
        title="Scheduler",
        measure=scheduler_age,
        evaluator=evaluate_scheduler,
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
        evaluator=evaluate_maintenance,
        alarms_when="the last run of a job failed, a schedule cannot be read, or the scheduler is silent",
        remedy="Open the job: its last run says what went wrong. Run now tries it again.",
        readers=frozenset({Reader.OVERVIEW}),
        order=150,
        link=_schedules_link(trouble="failed"),
        permissions=("scheduling.view_schedule",),
        is_metric=True,
    ),
)
