"""What people have agents asked at a time."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id
from scheduling.timing import CRON_MAX_LENGTH


class TurnSchedule(models.Model):
    """A message that an agent is sent for its user: at the times of a cron expression, or once.

    It goes on in `agent_session`, or begins a new session each time. `next_at` is null while nothing is to be sent:
    its user has paused it, an operator holds it, or its one time is over. A worker that fires it does not write the
    session's rows and its own in one commit: the turn's key names schedule and time, so that a repeat finds the turn.
    """

    class Hold(models.TextChoices):
        OPERATOR = "operator"
        RESTORED = "restored"

    class Outcome(models.TextChoices):
        ASKED = "asked"
        REFUSED = "refused"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="turn_schedules", db_index=False)
    agent = models.ForeignKey("Agent", on_delete=models.CASCADE, related_name="turn_schedules", db_index=False)
    agent_session = models.ForeignKey(
        "AgentSession", null=True, on_delete=models.CASCADE, related_name="turn_schedules", db_index=False
    )
    text = models.TextField()
    cron = models.CharField(max_length=CRON_MAX_LENGTH, blank=True, default="")
    time_zone = models.CharField(max_length=64)
    once_at = models.DateTimeField(null=True, blank=True)
    enabled = models.BooleanField(default=True, help_text="Off: its user has paused it, or its one time is over.")
    hold_reason = models.CharField(
        max_length=8, blank=True, default="", choices=Hold.choices, help_text="Held until an operator releases it."
    )
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())
    # It goes on without the key; so a plain id.
    api_key_id = models.UUIDField(
        null=True, editable=False, help_text="The API key that wrote it last, if any: its budgets are drawn on."
    )

    next_at = models.DateTimeField(null=True, help_text="The time that is to be fired next.")
    available_at = models.DateTimeField(
        null=True, help_text="Not fired before: a worker has claimed it, or was refused for the moment."
    )
    attempts = models.PositiveSmallIntegerField(default=0, help_text="How often the next time was claimed.")

    last_due_at = models.DateTimeField(null=True, help_text="The time that was fired last.")
    last_fired_at = models.DateTimeField(null=True)
    last_outcome = models.CharField(max_length=7, blank=True, default="", choices=Outcome.choices)
    # Plain ids: a new session each time may be deleted long before the schedule.
    last_session_id = models.UUIDField(null=True)
    last_turn_id = models.UUIDField(null=True)
    last_error = models.CharField(max_length=200, blank=True, default="", help_text="Why it was refused, in words.")
    missed = models.PositiveIntegerField(default=0, help_text="Times that passed while nothing could fire them.")

    class Meta:
        verbose_name = "turn schedule"
        permissions = [("hold_turnschedule", "Can hold and release the schedules of others")]
        indexes = [
            models.Index(fields=["next_at", "id"], name="turn_schedule_due", condition=Q(next_at__isnull=False)),
            models.Index(fields=["user", "-id"], name="turn_schedule_of_user"),
            models.Index(fields=["agent", "-id"], name="turn_schedule_of_agent"),
            models.Index(
                fields=["agent_session"],
                name="turn_schedule_of_session",
                condition=Q(agent_session__isnull=False),
            ),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(~Q(cron=""), once_at__isnull=True) | Q(cron="", once_at__isnull=False),
                name="turn_schedule_has_one_timing",
            ),
            models.CheckConstraint(
                condition=Q(next_at__isnull=True) | Q(enabled=True, hold_reason=""), name="turn_schedule_next_is_fired"
            ),
        ]

    def __str__(self) -> str:
        # Not its text, which is content of a conversation.
        return f"schedule {self.id}"

    def audit_name(self) -> str:
        """Always "": what people ask does not go into the audit trail."""
        return ""


# Its one time has passed, and it will not be fired any more.
IS_OVER = Q(once_at__lte=Now(), enabled=False, hold_reason="")
