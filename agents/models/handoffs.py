"""Requests that a person takes over a session, and the people who may."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.handoffs import HandoffOutcome, HandoffPriority, HandoffSource, HandoffState
from foundation.ids import new_id

_UNRESOLVED = ~Q(state="resolved")


class Handoff(models.Model):
    """Somebody, or something, wants a person to take over a session, or a person has taken it over. A session has one
    at most that is not resolved: who asks once more meets that one."""

    State = HandoffState

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent_session = models.ForeignKey("AgentSession", on_delete=models.CASCADE, related_name="handoffs", db_index=False)
    # No constraint, as for messages: the row is written with the end of its turn, and deleted with its session.
    turn = models.ForeignKey(
        "Turn", null=True, on_delete=models.CASCADE, db_constraint=False, related_name="+", db_index=False
    )
    state = models.CharField(
        max_length=8, choices=[(state.value, state.value) for state in HandoffState], default=HandoffState.PENDING.value
    )
    outcome = models.CharField(
        max_length=9,
        blank=True,
        default="",
        db_default="",
        choices=[(outcome.value, outcome.value.replace("_", " ")) for outcome in HandoffOutcome],
        help_text="How it was resolved.",
    )
    requested_by = models.CharField(max_length=8, choices=[(source.value, source.value) for source in HandoffSource])
    reason = models.CharField(max_length=200, blank=True, help_text="Of a fallback: the class of the error.")
    requested_at = models.DateTimeField(db_default=Now())
    on_duty = models.BooleanField(
        null=True, help_text="Whether anybody was on duty when a person was asked for; null: not looked up."
    )
    priority = models.SmallIntegerField(
        choices=[(priority.value, priority.name.lower()) for priority in HandoffPriority],
        default=HandoffPriority.NORMAL.value,
        db_default=HandoffPriority.NORMAL.value,
    )
    assignee = models.ForeignKey(
        "accounts.User", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    opened_at = models.DateTimeField(null=True, help_text="When a person took control first.")
    reply_due_at = models.DateTimeField(null=True, help_text="When the first reply of a person should be there.")
    first_reply_at = models.DateTimeField(null=True)
    snoozed_at = models.DateTimeField(null=True, help_text="Since when it is out of sight; a later message wakes it.")
    snoozed_until = models.DateTimeField(null=True)
    due_at = models.DateTimeField(
        null=True, help_text="When something is to happen by itself: the queue's time or the snooze is over."
    )
    resolved_at = models.DateTimeField(null=True)
    last_user_message_at = models.DateTimeField(
        null=True, help_text="While a person answers: what is not answered yet."
    )

    class Meta:
        ordering = ["requested_at"]
        permissions = [("answer_handoff", "Can take over sessions and answer their users")]
        indexes = [
            models.Index(fields=["agent_session"], name="handoff_of_session"),
            models.Index(fields=["priority", "requested_at"], name="handoff_waiting", condition=_UNRESOLVED),
            models.Index(fields=["due_at"], name="handoff_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["-requested_at", "-id"], name="handoff_newest"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["agent_session"], condition=~Q(state="resolved"), name="handoff_one_unresolved"
            ),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in HandoffState]), name="handoff_state_known"
            ),
        ]

    def __str__(self) -> str:
        return f"handoff of session {self.agent_session_id} ({self.state})"

    def audit_name(self) -> str:
        """Always "": what people want does not go into the audit trail."""
        return ""


class HandoffNote(models.Model):
    """What one operator tells the others about a session. Neither its user nor its agent reads it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent_session = models.ForeignKey(
        "AgentSession", on_delete=models.CASCADE, related_name="handoff_notes", db_index=False
    )
    author = models.ForeignKey("accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False)
    text = models.TextField()
    idempotency_key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is "none given"
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "note"
        indexes = [models.Index(fields=["agent_session", "id"], name="handoff_note_of_session")]
        constraints = [
            models.UniqueConstraint(
                fields=["agent_session", "idempotency_key"],
                condition=Q(idempotency_key__isnull=False),
                name="handoff_note_key_unique",
            )
        ]

    def __str__(self) -> str:
        return f"note on session {self.agent_session_id}"

    def audit_name(self) -> str:
        """Always "": notes do not go into the audit trail."""
        return ""


class OperatorDuty(models.Model):
    """An operator is there to answer, until a time."""

    user = models.OneToOneField("accounts.User", primary_key=True, on_delete=models.CASCADE, related_name="duty")
    since = models.DateTimeField(db_default=Now())
    until = models.DateTimeField()

    class Meta:
        verbose_name_plural = "operators on duty"

    def __str__(self) -> str:
        return f"{self.user_id} until {self.until}"

    def audit_name(self) -> str:
        """Always "": the row is named by its user."""
        return ""
