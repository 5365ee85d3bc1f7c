"""Requests of OpenAI clients, kept so that a repeat finds the turn that the first one made."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from agents.models.sessions import AgentSession


class CompletionRequest(models.Model):
    """One accepted request, by its principal and body, and by its key where it began a session of its own.

    `attempt` is what the client said of itself: 0 for a first attempt, n for its nth retry.
    """

    principal = models.CharField(max_length=64)
    fingerprint = models.BinaryField(max_length=32)
    key = models.CharField(max_length=255, null=True)  # noqa: DJ001 - null is "none given"
    attempt = models.SmallIntegerField(default=0)
    agent_session = models.ForeignKey(AgentSession, on_delete=models.CASCADE, related_name="+")
    # A plain id: the turn is written by the same commit, and only ever deleted with its session.
    turn_id = models.UUIDField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        indexes = [models.Index(fields=["fingerprint", "principal"], name="completion_fingerprint")]
        constraints = [
            models.UniqueConstraint(
                fields=["principal", "key"], condition=Q(key__isnull=False), name="completion_key_unique"
            )
        ]

    def __str__(self) -> str:
        return f"request for turn {self.turn_id}"
