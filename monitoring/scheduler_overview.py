"""What the start page says about the scheduler."""

from __future__ import annotations

from django.contrib.auth.models import AnonymousUser
from django.db.models import OuterRef, Subquery
from django.urls import reverse

from accounts.models import User
from console.formatting import duration
from monitoring.overview import Figure
from scheduling import heartbeats
from scheduling.models import JobRun, Schedule

_WRONG = (JobRun.Status.FAILED, JobRun.Status.LOST)


def figures(user: User | AnonymousUser) -> list[Figure]:
    """One figure: the jobs whose last run went wrong, or that the scheduler itself is silent."""
    if not user.is_active or not user.has_perm("scheduling.view_schedule"):
        return []
    last = JobRun.objects.filter(job=OuterRef("job")).exclude(status=JobRun.Status.RUNNING).order_by("-id")
    wrong = Schedule.objects.annotate(last=Subquery(last.values("status")[:1])).filter(last__in=_WRONG).count()
    age = heartbeats.age_seconds(heartbeats.SCHEDULER)
    silent = age is None or age > heartbeats.SCHEDULER_STALE_SECONDS
    if silent:
        words = "the scheduler has never reported" if age is None else f"the scheduler is silent for {duration(age)}"
    else:
        words = "of the last runs failed" if wrong else "every last run went well"
    level = "bad" if silent or wrong else ""
    remedy = (
        "Start the scheduler; var/logs/scheduler.log says why it stopped."
        if silent
        else "Open the job: its last run says what went wrong. Run now tries it again."
    )
    return [Figure("Maintenance", f"{wrong:,}", words, reverse("admin:scheduling_schedule_changelist"), level, remedy)]
