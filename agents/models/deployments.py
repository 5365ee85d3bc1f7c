"""Deployments: how the candidate release of an agent reaches its users, and what was withdrawn."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.deployments import ENDED_DEPLOYMENTS, DeploymentState
from foundation.ids import new_id

_ENDED = sorted(ENDED_DEPLOYMENTS)


class Deployment(models.Model):
    """The way of one release to the users of its agent. Written by `agents.deployments` only; an agent has one at most
    that has not ended, and `Agent.deployment` names it.

    The legal moves are in `agents.domain.deployments` and in a trigger, which keeps an ended row as it is, too. The id
    is the salt of the hash that divides the users.
    """

    State = DeploymentState

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey("Agent", on_delete=models.PROTECT, related_name="deployments", db_index=False)
    candidate = models.ForeignKey("Release", on_delete=models.PROTECT, related_name="+", db_index=False)
    baseline = models.ForeignKey(
        "Release",
        on_delete=models.PROTECT,
        related_name="+",
        db_index=False,
        help_text="The release that was live when it began, and is again when it goes back.",
    )
    state = models.CharField(
        max_length=11,
        choices=[(state.value, state.value.replace("_", " ")) for state in DeploymentState],
        default=DeploymentState.DRAFT.value,
    )
    plan = models.JSONField(help_text='{"steps": [{"percent": 5, "seconds": 600}], "watch_seconds": 600, ...}')
    step = models.SmallIntegerField(default=0, help_text="The step of the plan, from 0, while in canary.")
    step_started_at = models.DateTimeField(
        db_default=Now(), help_text="When this state, or this step of canary, began: what is compared began after it."
    )
    held_at = models.DateTimeField(null=True, help_text="Since when somebody holds it: it does not go on by itself.")
    # What slow and dear mean here: figures of the baseline, measured when canary begins.
    reference = models.JSONField(
        default=dict, help_text='{"slow_seconds": 1.5, "dear_usd": 0.01}: of the baseline before; null if unknown.'
    )
    test_set = models.ForeignKey(
        "TestSet", null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    verdict = models.JSONField(default=dict, help_text="The newest one, as DeploymentVerdict has it.")
    reason = models.TextField(blank=True, default="", help_text="Why it ended as it did, in one sentence.")
    created_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    created_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True)
    version = models.PositiveIntegerField(default=1, help_text="Raised by every move.")

    class Meta:
        indexes = [
            models.Index(fields=["agent", "-created_at", "-id"], name="deployment_of_agent"),
            models.Index(fields=["-created_at", "-id"], name="deployment_newest"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["agent"], condition=~Q(state__in=_ENDED), name="deployment_one_open"),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in DeploymentState]), name="deployment_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state__in=_ENDED, ended_at__isnull=False) | ~Q(state__in=_ENDED) & Q(ended_at__isnull=True),
                name="deployment_ended_has_time",
            ),
            models.CheckConstraint(
                condition=~Q(candidate=models.F("baseline")), name="deployment_candidate_is_another"
            ),
            models.CheckConstraint(condition=Q(step__gte=0), name="deployment_step_positive"),
        ]

    def __str__(self) -> str:
        return f"deployment {self.id} ({self.state})"

    def audit_name(self) -> str:
        """The agent and the number of the candidate."""
        return f"{self.agent.slug} #{self.candidate.number}"


class DeploymentVerdict(models.Model):
    """What was found at one moment of a deployment: a point of its charts. `decision` is a
    `agents.domain.deployment_verdict.DeploymentDecision`; `figures` has, for each arm, users, turns and, by metric,
    the users that met it."""

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="verdicts", db_index=False)
    at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=11)
    step = models.SmallIntegerField()
    decision = models.CharField(max_length=10)
    metric = models.CharField(max_length=10, blank=True, default="", help_text="What withdraws it, or leans to it.")
    sentence = models.TextField()
    figures = models.JSONField(default=dict)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["deployment", "at"], name="deployment_verdict_unique")]

    def __str__(self) -> str:
        return f"{self.decision} at {self.at}"


class WithdrawnRelease(models.Model):
    """A release that users must not meet any more: a claim runs what is pinned to it on the live release of its agent.

    The row is written by the transaction that goes back, and deleted when a later deployment brings the release again.
    Pins of sessions are rewritten in batches after; `moved_at` says when all were.
    """

    release = models.OneToOneField("Release", on_delete=models.CASCADE, primary_key=True, related_name="withdrawn")
    agent = models.ForeignKey("Agent", on_delete=models.CASCADE, related_name="+", db_index=False)
    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="+", db_index=False)
    withdrawn_at = models.DateTimeField(db_default=Now())
    moved_at = models.DateTimeField(null=True, help_text="When the last session was moved.")

    class Meta:
        indexes = [models.Index(fields=["withdrawn_at"], name="withdrawn_to_move", condition=Q(moved_at__isnull=True))]

    def __str__(self) -> str:
        return f"withdrawn release {self.release_id}"
