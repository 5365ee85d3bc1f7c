"""What all processes know of the routes to models. Written by `agents.routing` only."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.circuit_breaker import BreakerState, ForcedState


class RouteHealth(models.Model):
    """The circuit breaker of a model, as one credential reaches it, and what its provider says of its limits.

    The row without a model is about the credential itself: for how long nobody asks with it. Every write but that of
    `next_call_at` raises `revision` and names the one that it has read, so that none is lost.
    """

    provider = models.CharField(max_length=40)
    model = models.CharField(max_length=200, blank=True, default="", help_text="Empty: all models of the credential.")
    credential = models.CharField(max_length=32, help_text="A keyed fingerprint of the address and the key.")
    revision = models.BigIntegerField(default=1)

    state = models.CharField(
        max_length=9,
        choices=[(state.value, state.value.replace("_", " ")) for state in BreakerState],
        default=BreakerState.CLOSED.value,
    )
    generation = models.BigIntegerField(default=0, help_text="Raised by every move; results of older ones are dropped.")
    failures_in_row = models.IntegerField(default=0)
    opens_in_row = models.IntegerField(default=0)
    probe_successes = models.SmallIntegerField(default=0)
    open_until = models.DateTimeField(null=True)
    probe_owner = models.UUIDField(null=True, help_text="The process that asks now whether it works again.")
    probe_until = models.DateTimeField(null=True, help_text="The end of the probe's lease.")
    forced = models.CharField(
        max_length=6, blank=True, default="", choices=[(state.value, state.value) for state in ForcedState]
    )
    forced_until = models.DateTimeField(null=True)
    blocked_until = models.DateTimeField(null=True, help_text="The provider does not want to be asked until then.")
    buckets = models.JSONField(
        default=list, blank=True, help_text="Of the last minute: [begin, calls, failures, slow ones]."
    )

    rate_limits = models.JSONField(null=True, blank=True, help_text="What its provider said, when few calls remained.")
    pace_seconds = models.FloatField(null=True, help_text="How far apart calls are to be.")
    paced_until = models.DateTimeField(null=True)
    next_call_at = models.DateTimeField(null=True)

    context_window = models.IntegerField(
        null=True, help_text="Tokens; 0: nobody knows it. Null: it was not asked since that is stored."
    )
    token_factor = models.FloatField(null=True, help_text="Tokens that its provider counts, per estimated one.")

    last_error = models.CharField(max_length=400, blank=True, default="")
    last_error_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(db_default=Now(), help_text="When its state changed.")
    used_at = models.DateTimeField(db_default=Now(), help_text="When a process began to use it.")

    class Meta:
        verbose_name = "route"
        permissions = [("force_routehealth", "Can force routes open or closed")]
        ordering = ["provider", "model", "credential"]
        constraints = [
            models.UniqueConstraint(fields=["credential", "provider", "model"], name="route_unique"),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in BreakerState]), name="route_state_known"
            ),
            # An open one has an end, and what is forced, too.
            models.CheckConstraint(
                condition=~Q(state=BreakerState.OPEN.value) | Q(open_until__isnull=False), name="route_open_has_end"
            ),
            models.CheckConstraint(condition=Q(forced="") | Q(forced_until__isnull=False), name="route_forced_has_end"),
        ]

    def __str__(self) -> str:
        return f"{self.provider}:{self.model or '*'}"

    def audit_name(self) -> str:
        """Its route; a star stands for all models."""
        return str(self)
