"""What the scheduler runs for its own sake: its heartbeat, and forgetting old runs.

Every task is synchronous and safe to run twice.
"""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from scheduling import heartbeats, q2_sync
from scheduling.models import JobRun

KEEP_RUNS = timedelta(days=7)


def record_scheduler_heartbeat() -> None:
    """Prove that tasks are taken from the queue and run; then mend what is missing in the scheduler's own rows."""
    heartbeats.record_heartbeat(heartbeats.SCHEDULER)
    q2_sync.sync_schedules()


def purge_old_runs() -> int:
    """Delete the runs of schedules that began more than a week ago; how many there were."""
    deleted, _ = JobRun.objects.filter(started_at__lt=Now() - KEEP_RUNS).delete()
    return deleted
