"""Our rows in the rows of django-q2, which wakes up for them.

Its own admin is never registered: it would let whoever may add a schedule run any function (SECURITY.md).
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
from scheduling.models import Schedule
from scheduling.registry import jobs
from scheduling.timing import next_run

log = structlog.get_logger(__name__)

# The proof that the scheduler works is nobody's to switch off.
HEARTBEAT: Final = "scheduler heartbeat"
HEARTBEAT_FUNCTION: Final = "scheduling.tasks.record_scheduler_heartbeat"
RUN_FUNCTION: Final = "scheduling.runner.run_scheduled"
BY_TIMETABLE: Final = "the timetable"


@transaction.atomic
def sync_schedules() -> None:
    """Make a row for every job, and the scheduler's rows equal to ours. What is due keeps its time. Safe at any time.

    A job by cron is mirrored as one run at its next time: the run itself, and each heartbeat, put the following one in.
    """
    advisory_xact_lock(AdvisoryLock.SYNC_SCHEDULES)
    Schedule.objects.exclude(job__in=jobs.names()).delete()
    for job in jobs:
        job.load()  # a job that cannot be found must not wait for its hour to say so
        Schedule.objects.get_or_create(job=job.name, defaults={"every_minutes": job.every_minutes, "cron": job.cron})
    sync_to_q2()


def sync_to_q2() -> None:
    """Make the scheduler's rows equal to ours; the caller holds a transaction.

    Its rows are read without locks, which it takes in no order: one that it is about to use up just now is looked at
    again with the next heartbeat. A row of ours that cannot be read, which no form lets in, is left out and logged: it
    must not stop the others.
    """
    advisory_xact_lock(AdvisoryLock.SYNC_SCHEDULES)
    moment = now()
    due = _due_times(moment)
    Q2Schedule.objects.exclude(name__in=[HEARTBEAT, *(row.job for row, _ in due)]).delete()
    rows = {row.name: row for row in Q2Schedule.objects.order_by("-pk")}
    Q2Schedule.objects.exclude(pk__in=[row.pk for row in rows.values()]).delete()
    _ensure_row(
        rows.get(HEARTBEAT),
        HEARTBEAT,
        moment,
        moment,
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
        _ensure_row(rows.get(row.job), row.job, at, moment, **timing)


def enqueue_job(job: str, asked_by: str) -> None:
    """Have `job` run as soon as a worker is free."""
    async_task(RUN_FUNCTION, job, asked_by, group=job)


def queue_heartbeat() -> None:
    """Queue one heartbeat at once: the scheduler looks at its schedules only half a minute after it started."""
    async_task(HEARTBEAT_FUNCTION, group=HEARTBEAT)


def _due_times(moment: datetime) -> list[tuple[Schedule, datetime]]:
    """The schedules that are switched on, each with the time at which a new row of the scheduler is due."""
    due = []
    for row in Schedule.objects.filter(enabled=True, job__in=jobs.names()):
        try:
            due.append((row, next_run(row.cron, row.time_zone, after=moment) if row.cron else moment))
        except InvalidInput as error:
            log.error("schedule.rejected", job=row.job, reason=error.detail)
    return due


def _ensure_row(existing: Q2Schedule | None, name: str, due: datetime, moment: datetime, **timing: Any) -> None:
    """Have a row `name` with this timing. One that has it stays, and with it the time at which it is due."""
    if existing is not None:
        # The scheduler's rows have no time zone: one by cron that is not due yet shows it in its time.
        as_ours = not timing.get("cron") or existing.next_run <= moment or existing.next_run == due
        if as_ours and all(getattr(existing, field) == value for field, value in timing.items()):
            return
        existing.delete()
    Q2Schedule.objects.create(name=name, repeats=-1, next_run=due, **timing)
