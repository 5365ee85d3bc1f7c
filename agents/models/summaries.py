"""Summaries of conversations that are longer than a model's context window."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agents.models.sessions import AgentSession, Message
from foundation.ids import new_id


class HistorySummary(models.Model):
    """A summary of a conversation from its beginning through the message `through`, and so of one branch of it.

    It was made of the summary `previous` and the messages behind that one's last. It goes with the message, and with
    every one of them, since messages are only ever deleted with their session.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent_session = models.ForeignKey(AgentSession, on_delete=models.CASCADE, related_name="summaries", db_index=False)
    through = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+")
    through_ordinal = models.IntegerField()
    previous = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="+")
    text = models.TextField()
    route = models.CharField(max_length=200, help_text="The route that wrote it.")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "history summaries"
        ordering = ["agent_session", "through_ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["agent_session", "through"], name="summary_one_per_message"),
        ]

    def __str__(self) -> str:
        return f"summary through #{self.through_ordinal}"
