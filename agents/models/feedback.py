"""Ratings of messages."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id


class Feedback(models.Model):
    """One user's rating of one message: `value` is 1 or -1."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # Copied from the message, so that a session's feedback is found, and deleted, without reading its messages.
    agent_session = models.ForeignKey("AgentSession", on_delete=models.CASCADE, related_name="feedback")
    message = models.ForeignKey("Message", on_delete=models.CASCADE, related_name="feedback", db_index=False)
    # Copied from the answer's turn: null for answers of people and for copies in a fork, which count for no release. No
    # constraints, because the turn and its release go after the feedback.
    turn = models.ForeignKey(
        "Turn", null=True, on_delete=models.CASCADE, db_constraint=False, related_name="feedback", db_index=False
    )
    release = models.ForeignKey(
        "Release", null=True, on_delete=models.PROTECT, db_constraint=False, related_name="+", db_index=False
    )
    user = models.ForeignKey("accounts.User", on_delete=models.CASCADE, related_name="+", db_index=False)
    value = models.SmallIntegerField(choices=[(1, "up"), (-1, "down")])
    comment = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())
    updated_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name = "rating"
        ordering = ["-created_at"]
        indexes = [
            models.Index(fields=["-created_at"], name="feedback_newest"),
            # Those of a list's turns, and the rated turns in the order of the list.
            models.Index(fields=["turn", "value"], name="feedback_of_turn", condition=Q(turn__isnull=False)),
            models.Index(
                fields=["release", "id"], name="feedback_of_release", include=["value"],
                condition=Q(release__isnull=False),
            ),
        ]  # fmt: skip
        constraints = [
            models.UniqueConstraint(fields=["message", "user"], name="feedback_one_per_person"),
            models.CheckConstraint(condition=Q(value__in=[1, -1]), name="feedback_value_known"),
        ]

    def __str__(self) -> str:
        return "up" if self.value > 0 else "down"
