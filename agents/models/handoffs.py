"""Requests that a person takes over a session."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id


class Handoff(models.Model):
    """Somebody, or something, wants a person to take over a session; while it is `pending`, its agent goes on
    answering. A session has one at most that is not resolved: who asks once more meets that one."""

    class State(models.TextChoices):
        PENDING = "pending"
        OPEN = "open"
        SNOOZED = "snoozed"
        RESOLVED = "resolved"

    class RequestedBy(models.TextChoices):
        FALLBACK = "fallback"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent_session = models.ForeignKey("AgentSession", on_delete=models.CASCADE, related_name="handoffs", db_index=False)
    # No constraint, as for messages: the row is written with the end of its turn, and deleted with its session.
    turn = models.ForeignKey(
        "Turn", null=True, on_delete=models.CASCADE, db_constraint=False, related_name="+", db_index=False
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.PENDING)
    requested_by = models.CharField(max_length=8, choices=RequestedBy.choices)
    reason = models.CharField(max_length=200, help_text="Of a fallback: the class of the error.")
    requested_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["requested_at"]
        indexes = [models.Index(fields=["agent_session"], name="handoff_of_session")]
        constraints = [
            models.UniqueConstraint(
                fields=["agent_session"], condition=~Q(state="resolved"), name="handoff_one_unresolved"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["pending", "open", "snoozed", "resolved"]), name="handoff_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"handoff of session {self.agent_session_id} ({self.state})"
