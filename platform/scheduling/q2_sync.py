"""Mirrors each active `Schedule` as a row of django-q2, whose scheduler starts the job when it is due.

The admin of django-q2 is never registered: it would let whoever may add a schedule run any function (SECURITY.md).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import structlog
from django.db import transaction
from django_q.models import Schedule as Q2Schedule
from django_q.tasks import async_task

from foundation.advisory_locks import AdvisoryLock, advisory_xact_lock
from foundation.clock import now
from foundation.errors import InvalidInput
from foundation.job_registry import jobs
from scheduling.models import Schedule
from scheduling.timing import next_run

log = structlog.get_logger(__name__)

# The heartbeat of the scheduler has no row of ours, so that it cannot be switched off.
HEARTBEAT: Final = "scheduler heartbeat"
HEARTBEAT_FUNCTION: Final = "scheduling.tasks.record_scheduler_heartbeat"
RUN_FUNCTION: Final = "scheduling.job_execution.run_scheduled"
BY_TIMETABLE: Final = "the timetable"


@transaction.atomic
def sync_schedules() -> None:
    """Create a schedule for every registered job, delete the others, and mirror them into django-q2. Idempotent.

    Rows that are due keep their time. A cron schedule is mirrored as a single run at its next time; the run itself, and
    each heartbeat, add the following one.
    """
    advisory_xact_lock(AdvisoryLock.SYNC_SCHEDULES)
    Schedule.objects.exclude(job__in=jobs.names()).delete()
    for job in jobs:
        job.load()  # a job that cannot be imported must fail now, not at its first run
        Schedule.objects.get_or_create(job=job.name, defaults={"every_minutes": job.every_minutes, "cron": job.cron})
    sync_to_q2()


def sync_to_q2() -> None:
    """Mirror the schedules into django-q2, within the caller's transaction.

    django-q2's rows are not locked, because it locks them in no fixed order; one that it processes concurrently is
    corrected with the next heartbeat. A schedule with an invalid timing is logged and skipped.
    """
    advisory_xact_lock(AdvisoryLock.SYNC_SCHEDULES)
    current_time = now()
    due = _due_times(current_time)
    Q2Schedule.objects.exclude(name__in=[HEARTBEAT, *(row.job for row, _ in due)]).delete()
    rows = {row.name: row for row in Q2Schedule.objects.order_by("-pk")}
    Q2Schedule.objects.exclude(pk__in=[row.pk for row in rows.values()]).delete()
    _ensure_row(
        rows.get(HEARTBEAT),
        HEARTBEAT,
        current_time,
        current_time,
        func=HEARTBEAT_FUNCTION,
        schedule_type=Q2Schedule.MINUTES,
        minutes=1,
    )
    for row, at in due:
        timing: dict[str, Any] = {"func": RUN_FUNCTION, "args": repr((row.job,)), "cron": row.cron or None}
        if row.cron:
            timing |= {"schedule_type": Q2Schedule.ONCE, "minutes": None}
        else:
            timing |= {"schedule_type": Q2Schedule.MINUTES, "minutes": row.every_minutes}
        _ensure_row(rows.get(row.job), row.job, at, current_time, **timing)


def enqueue_job(job: str, asked_by: str) -> None:
    """Queue one run of `job` on behalf of `asked_by`."""
    async_task(RUN_FUNCTION, job, asked_by, group=job)


def queue_heartbeat() -> None:
    """Queue one heartbeat at once, because django-q2 checks its schedules only half a minute after its start."""
    async_task(HEARTBEAT_FUNCTION, group=HEARTBEAT)


def _due_times(current_time: datetime) -> list[tuple[Schedule, datetime]]:
    """The enabled schedules, each with the time at which a new row in django-q2 is due."""
    due = []
    for row in Schedule.objects.filter(enabled=True, job__in=jobs.names()):
        try:
            due.append((row, next_run(row.cron, row.time_zone, after=current_time) if row.cron else current_time))
        except InvalidInput as error:
            log.error("schedule.rejected", job=row.job, reason=error.detail)
    return due


def _ensure_row(existing: Q2Schedule | None, name: str, due: datetime, current_time: datetime, **timing: Any) -> None:
    """Ensure a row `name` with this timing. An existing one with the same timing keeps its due time."""
    if existing is not None:
        # django-q2's rows have no time zone; for cron, it shows in the time of the next run.
        is_current = not timing.get("cron") or existing.next_run <= current_time or existing.next_run == due
        if is_current and all(getattr(existing, field) == value for field, value in timing.items()):
            return
        existing.delete()
    Q2Schedule.objects.create(name=name, repeats=-1, next_run=due, **timing)
