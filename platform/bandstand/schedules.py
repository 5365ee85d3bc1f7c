"""The closed list of jobs that the scheduler runs. A job that is not here runs nowhere."""

from dataclasses import dataclass
from typing import Final

from django.db import transaction
from django.utils.module_loading import import_string
from django_q.models import Schedule
from django_q.tasks import async_task


@dataclass(frozen=True, slots=True)
class Job:
    """A synchronous function without arguments, safe to run twice, and how often it runs."""

    name: str
    function: str
    every_minutes: int


BEAT: Final = Job("scheduler heartbeat", "monitoring.tasks.beat_scheduler", 1)
JOBS: Final = (
    BEAT,
    Job("fold ended turns", "agents.tasks.compact_events", 1),
    # The runners do this every second; here it is done when none of them lives.
    Job("reap lost turns", "agents.tasks.reap", 1),
    Job("forget idempotency keys", "agents.tasks.purge_idempotency", 60),
    Job("delete sessions past their end", "agents.tasks.delete_expired", 10),
    Job("forget full buckets", "agents.tasks.purge_limits", 10),
)


def ensure() -> None:
    """Make the scheduler's rows equal to the list; a job keeps its next run unless its interval changed."""
    with transaction.atomic():
        Schedule.objects.exclude(name__in=[job.name for job in JOBS]).delete()
        for job in JOBS:
            import_string(job.function)  # a job that cannot be found must not wait for its hour to say so
            Schedule.objects.update_or_create(
                name=job.name,
                defaults={
                    "func": job.function,
                    "schedule_type": Schedule.MINUTES,
                    "minutes": job.every_minutes,
                    "repeats": -1,
                },
            )


def beat_now() -> None:
    """Queue one heartbeat at once: the scheduler looks at its schedules only half a minute after it started."""
    async_task(BEAT.function, group=BEAT.name)
