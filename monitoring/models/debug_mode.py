"""Debug mode: for a time, everything about a session or an agent is recorded."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from foundation.ids import new_id


class DebugMode(models.Model):
    """Debug mode of one session or of one agent, from `begun_at` until `until`, or until somebody ends it before.

    Nothing has to end it: whoever asks compares `until` with now. The session is a plain id, so that its deletion has
    nothing to do here; who began and ended it are names, as in the audit trail.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey(
        "agents.Agent", null=True, blank=True, on_delete=models.CASCADE, related_name="debug_modes"
    )
    session = models.UUIDField(null=True, blank=True)
    reason = models.CharField(max_length=300)
    begun_by = models.CharField(max_length=200)
    begun_at = models.DateTimeField(db_default=Now())
    until = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True, help_text="Empty where nobody ended it before its time.")
    ended_by = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        default_permissions = ("view", "change")
        permissions = [("export_trace", "Can export the traces of sessions")]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["session"], name="debug_of_session", condition=Q(session__isnull=False)),
            models.Index(fields=["until"], name="debug_not_ended", condition=Q(ended_at__isnull=True)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["agent"], condition=Q(ended_at__isnull=True), name="debug_one_open_per_agent"
            ),
            models.UniqueConstraint(
                fields=["session"], condition=Q(ended_at__isnull=True), name="debug_one_open_per_session"
            ),
            models.CheckConstraint(
                condition=Q(agent__isnull=True, session__isnull=False) | Q(agent__isnull=False, session__isnull=True),
                name="debug_of_one",
            ),
            models.CheckConstraint(condition=Q(until__gt=F("begun_at")), name="debug_ends_later"),
        ]

    def __str__(self) -> str:
        return f"debug mode of {'agent' if self.session is None else 'session'} {self.session or self.agent_id}"
