"""Bulk actions: what an operator does to many rows at once."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from foundation.ids import new_id


class BulkAction(models.Model):
    """One of `agents.sessions.bulk_actions.BULK_OPERATIONS` on many rows, which are processed one after the other.

    `done + refused` of `targets` are processed. `worker` may write its progress until `lease_expires_at`.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        DONE = "done"
        STOPPED = "stopped"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    operation = models.CharField(max_length=32)
    user = models.ForeignKey("accounts.User", on_delete=models.PROTECT, related_name="+")
    targets = ArrayField(models.UUIDField(), help_text="In the order of work; emptied at the end.")
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    refused = models.PositiveIntegerField(default=0, help_text="Rows that were left as they were.")
    reasons = models.JSONField(default=dict, help_text="Why they were, and how often.")
    status = models.CharField(max_length=7, choices=Status.choices, default=Status.OPEN)
    note = models.CharField(max_length=200, blank=True, default="", help_text="Why it was stopped.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    worker = models.UUIDField(null=True)
    lease_expires_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "bulk action"
        ordering = ["-id"]
        indexes = [models.Index(fields=["id"], name="bulk_action_open", condition=Q(status="open"))]
        constraints = [
            models.CheckConstraint(condition=Q(total__gte=F("done") + F("refused")), name="bulk_action_counts_rows"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} on {self.total:,} rows"
