"""Calls of models for side work: titles, summaries, extraction."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.states import StepStatus
from agents.models.sessions import AgentSession


class UtilityCall(models.Model):
    """One call of a model that answers nobody. `intent` commits before the call, its outcome after it, as for a step.

    A turn's usage does not contain it: what a session has cost is the sum of both. Its text is not kept here.
    """

    user = models.ForeignKey("accounts.User", on_delete=models.PROTECT, db_constraint=False, related_name="+")
    # Null: it is about no single conversation.
    agent_session = models.ForeignKey(AgentSession, null=True, on_delete=models.CASCADE, related_name="utility_calls")
    # A plain id: a turn is only ever deleted with its session.
    turn_id = models.UUIDField(null=True, help_text="The turn that it was made for, if any.")
    purpose = models.CharField(max_length=40, help_text="What it is for, such as title.")
    attempt = models.SmallIntegerField(default=1)
    status = models.CharField(
        max_length=7,
        choices=[(status.value, status.value) for status in (StepStatus.INTENT, StepStatus.DONE, StepStatus.FAILED)],
        default=StepStatus.INTENT.value,
    )
    route = models.CharField(max_length=200)
    error_class = models.CharField(max_length=20, blank=True, default="")
    details = models.JSONField(blank=True, default=dict, help_text="As of a step: request id, cached tokens, error.")
    input_tokens = models.IntegerField(null=True, help_text="Null: unknown, such as before the end.")
    output_tokens = models.IntegerField(null=True, help_text="Null: unknown, such as before the end.")
    cost_usd = models.DecimalField(max_digits=14, decimal_places=8, null=True, help_text="Null: the price is unknown.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["started_at"], name="utility_call_unended", condition=Q(status=StepStatus.INTENT.value)
            )
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(status=StepStatus.INTENT.value, finished_at__isnull=True)
                | Q(status__in=[StepStatus.DONE.value, StepStatus.FAILED.value], finished_at__isnull=False),
                name="utility_call_finished",
            )
        ]

    def __str__(self) -> str:
        return f"{self.purpose} by {self.route}"
