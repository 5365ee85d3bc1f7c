"""Runs a job and records the result. Called by the scheduler's workers."""

from __future__ import annotations

from typing import Any, Final

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now

from foundation.advisory_locks import LockFamily, try_advisory_lock
from foundation.clock import now
from foundation.graphemes import cut_text
from foundation.job_registry import Job, jobs
from scheduling.models import JobRun, Schedule
from scheduling.q2_sync import BY_TIMETABLE, sync_to_q2

log = structlog.get_logger(__name__)

_LONGEST_ERROR: Final = 2_000


def run_scheduled(name: str, asked_by: str = BY_TIMETABLE) -> str:
    """Run the job `name` and return the status of its run; exceptions of the job are recorded there.

    Returns "unknown" for an unregistered job and "off" for a schedule that has been switched off; a job that is still
    running is skipped.
    """
    job = jobs.get(name)
    if job is None:
        log.error("job.not_found", job=name)
        return "unknown"
    if asked_by == BY_TIMETABLE:
        with transaction.atomic():
            sync_to_q2()  # adds the next run of a cron schedule, whatever the result of this one
        if not Schedule.objects.filter(job=name, enabled=True).exists():
            return "off"
    return run_job(job, asked_by=asked_by)


def run_job(job: Job, *, asked_by: str) -> str:
    """Run `job` and return the status of its `JobRun`; exceptions are recorded in the row and logged."""
    with try_advisory_lock(LockFamily.RUN_JOB.lock(job.name.encode())) as acquired:
        if not acquired:
            _write(job, asked_by, status=JobRun.Status.SKIPPED, outcome="still running from before", finished_at=now())
            return str(JobRun.Status.SKIPPED)
        JobRun.objects.filter(job=job.name, status=JobRun.Status.RUNNING).update(
            status=JobRun.Status.LOST, error="Its worker ended before it did.", finished_at=Now()
        )
        run = _write(job, asked_by)
        try:
            value = job.load()()
        except Exception as error:
            log.exception("job.failed", job=job.name)
            outcome = {
                "status": JobRun.Status.FAILED,
                "error": cut_text(f"{type(error).__name__}: {error}", _LONGEST_ERROR),
            }
            if not connection.is_usable():
                connection.close()  # the next statement opens another
        else:
            outcome = {"status": JobRun.Status.DONE, "outcome": _describe_result(job, value)}
        JobRun.objects.filter(pk=run.pk).update(finished_at=Now(), **outcome)
        return str(outcome["status"])


def _write(job: Job, asked_by: str, **values: Any) -> JobRun:
    return JobRun.objects.create(job=job.name, asked_by=cut_text(asked_by, 200), **values)


def _describe_result(job: Job, value: Any) -> str:
    return f"{value:,} {job.result_label}" if isinstance(value, int) else ""
