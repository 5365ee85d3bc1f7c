"""Runs of the readiness validator, each with its result."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.clock import now
from foundation.ids import new_id

# Its process has ended without a result: all parts of a run are bounded by less.
INTERRUPTED_AFTER: Final = timedelta(minutes=3)


class ReadinessRun(models.Model):
    """One run, about the installation or about an agent's draft. `lines` are those of `CheckLine.dump`.

    `fingerprint` tells which configuration was checked: a result says nothing of another one.
    """

    class Status(models.TextChoices):
        RUNNING = "running"
        PASSED = "passed"
        FAILED = "failed"
        INTERRUPTED = "interrupted"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    status = models.CharField(max_length=11, choices=Status.choices, default=Status.RUNNING)
    # A plain id: results stay when their agent goes.
    agent_id = models.UUIDField(null=True, blank=True)
    subject = models.CharField(max_length=280, help_text="The agent's name, or the installation.")
    fingerprint = models.CharField(max_length=64, blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    requested_as = models.CharField(max_length=150, help_text="The name of whoever asked for it.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    lines = models.JSONField(default=list, blank=True)

    class Meta:
        verbose_name = "readiness check"
        default_permissions = ("view",)
        permissions = [
            ("run_readiness", "Can run the readiness checks"),
            ("override_readiness", "Can publish in spite of failed readiness checks"),
        ]
        ordering = ["-id"]
        indexes = [models.Index(fields=["agent_id", "-id"], name="readiness_run_of_agent")]
        constraints = [
            models.UniqueConstraint(fields=["status"], condition=Q(status="running"), name="readiness_run_one_running"),
            models.CheckConstraint(
                condition=Q(status__in=["running", "passed", "failed", "interrupted"]),
                name="readiness_run_status_known",
            ),
            models.CheckConstraint(
                condition=Q(status="running") ^ Q(finished_at__isnull=False), name="readiness_run_finished_has_time"
            ),
        ]

    def __str__(self) -> str:
        return f"readiness of {self.subject}"

    @property
    def present_status(self) -> str:
        """The status; "interrupted" also for a run whose process has ended without a word, which nothing has noted
        yet."""
        is_silent = self.status == self.Status.RUNNING and self.started_at < now() - INTERRUPTED_AFTER
        return self.Status.INTERRUPTED if is_silent else self.Status(self.status)

    def audit_name(self) -> str:
        """What was checked."""
        return self.subject
