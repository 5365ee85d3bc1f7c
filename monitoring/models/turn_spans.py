"""Spans of turns, in partitions by day, and what is recorded of each agent's turns."""

from __future__ import annotations

from typing import Final

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

# For agents without a row of their own; for how long theirs are kept is in BANDSTAND_SPAN_DAYS.
DEFAULT_SAMPLE_PERCENT: Final = 10
DEFAULT_RETENTION_DAYS: Final = 30
MAX_RETENTION_DAYS: Final = 365


class TurnSpan(models.Model):
    """What was done for a turn besides its steps. Written by the processes in bulk, and never changed.

    A table of partitions, one for each day (UTC) of `started_at`; `monitoring.spans.partitions` makes and drops them.
    Turn and agent are plain ids: spans outlive neither by a constraint, and hold nothing that anybody wrote.
    """

    pk = models.CompositePrimaryKey("started_at", "id")
    started_at = models.DateTimeField()
    id = models.BigIntegerField(help_text="Random; the span's id for OpenTelemetry.")
    turn_id = models.UUIDField()
    agent_id = models.UUIDField()
    name = models.CharField(max_length=100)
    ended_at = models.DateTimeField()
    error_type = models.CharField(max_length=100, blank=True, default="")
    attributes = models.JSONField(blank=True, default=dict)

    class Meta:
        db_table = "monitoring_span"
        # Nobody edits spans, and they are shown with the turn that they belong to.
        default_permissions = ()
        indexes = [models.Index(fields=["turn_id"], name="span_of_turn")]

    def __str__(self) -> str:
        return self.name


class TraceSettings(models.Model):
    """What is recorded of an agent's turns, and for how long. Agents without a row have the defaults."""

    agent = models.OneToOneField(
        "agents.Agent", primary_key=True, on_delete=models.CASCADE, related_name="trace_settings"
    )
    sample_percent = models.PositiveSmallIntegerField(
        default=DEFAULT_SAMPLE_PERCENT, validators=[MaxValueValidator(100)]
    )
    retention_days = models.PositiveSmallIntegerField(
        default=DEFAULT_RETENTION_DAYS, validators=[MinValueValidator(1), MaxValueValidator(MAX_RETENTION_DAYS)]
    )
    exports_content = models.BooleanField(default=False)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        default_permissions = ("add", "view", "change")
        verbose_name = verbose_name_plural = "trace settings"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(sample_percent__lte=100), name="trace_settings_sample_percent_range"
            ),
            models.CheckConstraint(
                condition=models.Q(retention_days__gte=1, retention_days__lte=MAX_RETENTION_DAYS),
                name="trace_settings_retention_range",
            ),
        ]

    def __str__(self) -> str:
        return f"Trace settings of {self.agent}"

    def audit_name(self) -> str:
        """The agent's name."""
        return str(self.agent)
