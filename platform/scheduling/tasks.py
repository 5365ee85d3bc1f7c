"""What the scheduler runs for its own sake: its heartbeat, and forgetting old runs.

Every task is synchronous and safe to run twice.
"""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now

from scheduling import heartbeats, q2_sync
from scheduling.models import JobRun


def record_scheduler_heartbeat() -> None:
    """Record the heartbeat, which proves that queued tasks run; then repair the mirrored schedules."""
    heartbeats.record_heartbeat(heartbeats.SCHEDULER)
    q2_sync.sync_schedules()


def purge_old_runs() -> int:
    """Delete job runs older than `job_run_days`; return how many."""
    keep = timedelta(days=settings.BANDSTAND.job_run_days)
    deleted, _ = JobRun.objects.filter(started_at__lt=Now() - keep).delete()
    return deleted
