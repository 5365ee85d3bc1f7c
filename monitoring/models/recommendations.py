"""What the performance monitor recommends, and what it may do by itself."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from foundation.ids import new_id


class RecommendationKind(models.TextChoices):
    """What can be done."""

    MEMORY_CLEANUP = "memory_cleanup", "memory cleanup"
    CONTEXT_OPTIMIZATION = "context_optimization", "context optimization"
    LOAD_REBALANCING = "load_rebalancing", "load rebalancing"
    AGENT_RESTART = "agent_restart", "agent restart"


class ApplyMode(models.TextChoices):
    """Who applies the recommendations of a kind."""

    OFF = "off", "off: do not look"
    SUGGEST = "suggest", "suggest: a person applies them"
    AUTOMATIC = "automatic", "automatic: they are applied at once"


class RecommendationPolicy(models.Model):
    """How the recommendations of a kind are dealt with. One without a row is only suggested."""

    kind = models.CharField(max_length=20, primary_key=True, choices=RecommendationKind.choices)
    mode = models.CharField(max_length=9, choices=ApplyMode.choices, default=ApplyMode.SUGGEST)

    class Meta:
        verbose_name = "recommendation policy"
        verbose_name_plural = "recommendation policies"
        ordering = ["kind"]
        constraints = [
            models.CheckConstraint(condition=Q(kind__in=RecommendationKind.values), name="recommendation_policy_kind"),
            models.CheckConstraint(condition=Q(mode__in=ApplyMode.values), name="recommendation_policy_mode"),
        ]

    def __str__(self) -> str:
        return self.get_kind_display()

    def audit_name(self) -> str:
        """The kind."""
        return self.kind


class Recommendation(models.Model):
    """Something that should be done about a runner or an agent, with its evidence.

    The row says what is to be done before it is done, and what came of it after: whoever dies in between leaves one
    that the next pass of the monitor ends. There is one unfinished row for each kind and subject.
    """

    class Status(models.TextChoices):
        OPEN = "open"
        APPLYING = "applying"
        APPLIED = "applied"
        FAILED = "failed"
        DISMISSED = "dismissed"
        OBSOLETE = "obsolete", "no longer needed"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=20, choices=RecommendationKind.choices)
    status = models.CharField(max_length=9, choices=Status.choices, default=Status.OPEN)
    # Plain ids: runners are forgotten after a week, and the row stays.
    runner_id = models.UUIDField(null=True, blank=True)
    agent_id = models.UUIDField(null=True, blank=True)
    subject = models.CharField(max_length=280, help_text="Host and pid of the runner, or the agent's name.")
    reason = models.CharField(max_length=40, help_text="Which rule has found it.")
    evidence = models.JSONField(default=list, help_text="The figures at the time, each with its threshold.")
    action = models.JSONField(default=dict, blank=True, help_text="What it sets, such as the limit of claims.")
    created_at = models.DateTimeField(db_default=Now())
    automatic = models.BooleanField(default=False, help_text="Applied by the monitor itself.")
    decided_at = models.DateTimeField(null=True, help_text="When it was applied or dismissed.")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    finished_at = models.DateTimeField(null=True, help_text="When its outcome was known.")
    outcome = models.CharField(max_length=400, blank=True, default="")
    figures_before = models.JSONField(default=dict, blank=True, help_text="Of the minutes before it was applied.")
    figures_after = models.JSONField(null=True, blank=True, help_text="The same, minutes after.")
    reverted_at = models.DateTimeField(null=True, help_text="When what it set was taken back.")

    class Meta:
        permissions = [("apply_recommendation", "Can apply and dismiss recommendations")]
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["status", "-id"], name="recommendation_by_status"),
            models.Index(fields=["created_at"], name="recommendation_created"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["kind", "runner_id", "agent_id"],
                condition=Q(status__in=["open", "applying"]),
                nulls_distinct=False,
                name="recommendation_one_unfinished",
            ),
            models.CheckConstraint(condition=Q(kind__in=RecommendationKind.values), name="recommendation_kind_known"),
            models.CheckConstraint(
                condition=Q(runner_id__isnull=False) ^ Q(agent_id__isnull=False), name="recommendation_one_subject"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["open", "obsolete"]) | Q(decided_at__isnull=False),
                name="recommendation_decided_has_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.subject}"

    @property
    def subject_id(self) -> UUID:
        """The id of its runner, or of its agent."""
        subject_id = self.runner_id or self.agent_id
        assert subject_id is not None, "the row check"
        return subject_id

    @property
    def host(self) -> str:
        """The host of its runner; "" for an agent."""
        return self.subject.rsplit(":", 1)[0] if self.runner_id else ""

    def audit_name(self) -> str:
        """The kind and its subject."""
        return str(self)


UNFINISHED: Final = (Recommendation.Status.OPEN, Recommendation.Status.APPLYING)
