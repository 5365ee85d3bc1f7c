"""What the platform knows about its own processes, and when its maintenance runs."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id
from scheduling.timing import CRON_MAX_LENGTH


class Heartbeat(models.Model):
    """When a part was last seen at work, by the database's clock."""

    name = models.CharField(primary_key=True, max_length=50)
    beat_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


def installation_time_zone() -> str:
    return str(settings.TIME_ZONE)


class Schedule(models.Model):
    """When a registered job runs: every so many minutes, or by a cron expression on the clocks of `time_zone`."""

    job = models.CharField(max_length=100, unique=True)
    enabled = models.BooleanField(default=True)
    every_minutes = models.PositiveSmallIntegerField(null=True, blank=True)
    cron = models.CharField(max_length=CRON_MAX_LENGTH, blank=True, default="")
    time_zone = models.CharField(max_length=64, default=installation_time_zone)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["job"]
        permissions = [("run_schedule", "Can run a scheduled job now")]
        constraints = [
            models.CheckConstraint(
                # Said in full: a check that comes out as null lets the row pass.
                condition=Q(every_minutes__isnull=False, every_minutes__gte=1, cron="")
                | (Q(every_minutes__isnull=True) & ~Q(cron="")),
                name="schedule_has_one_timing",
            )
        ]

    def __str__(self) -> str:
        return self.job


class JobRun(models.Model):
    """One run of a job. A run that is `running` for longer than a worker may live is lost with its worker."""

    class Status(models.TextChoices):
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        SKIPPED = "skipped"
        LOST = "lost"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    job = models.CharField(max_length=100)
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.RUNNING)
    asked_by = models.CharField(max_length=200, help_text="The timetable, or whoever pressed the button.")
    outcome = models.CharField(max_length=200, blank=True, default="")
    error = models.TextField(blank=True, default="")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "job run"
        verbose_name_plural = "job runs"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["job", "-id"], name="jobrun_of_job"),
            models.Index(fields=["started_at"], name="jobrun_started"),
        ]

    def __str__(self) -> str:
        return f"{self.job} ({self.status})"
