"""Calls of tools that wait for a person, and the times for which they need not wait."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.approvals import ApprovalState, Decider
from foundation.ids import new_id


def _choices(states: type[ApprovalState] | type[Decider]) -> list[tuple[str, str]]:
    return [(state.value, state.value) for state in states]


class Approval(models.Model):
    """The stored call of a step that may run after a person has agreed. What runs is exactly this call, once.

    A call that is approved and has no `used_at` has certainly never run: that time is written before the tool is
    called. The columns of the call never change.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint, as for events: the row is written with its step, and deleted with the session.
    turn = models.ForeignKey(
        "Turn", on_delete=models.CASCADE, db_constraint=False, related_name="approvals", db_index=False
    )
    agent_session = models.ForeignKey(
        "AgentSession", on_delete=models.CASCADE, related_name="approvals", db_index=False
    )
    agent = models.ForeignKey("Agent", on_delete=models.PROTECT, db_constraint=False, related_name="+", db_index=False)
    step = models.SmallIntegerField(help_text="The number of the step that waits.")
    call_id = models.CharField(max_length=200, blank=True, default="")
    tool = models.CharField(max_length=64)
    arguments = models.TextField(help_text="Canonical JSON, as the tool is called.")
    arguments_hash = models.BinaryField(max_length=32, help_text="SHA-256 of the arguments.")
    reasons = models.JSONField(default=list, help_text="Why a person is asked, in words.")
    decider = models.CharField(max_length=8, choices=_choices(Decider))
    state = models.CharField(max_length=9, choices=_choices(ApprovalState), default=ApprovalState.PENDING.value)
    requested_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(help_text="After this nobody may agree any more.")
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    note = models.TextField(blank=True, default="")
    used_at = models.DateTimeField(null=True, help_text="When its call was made.")

    class Meta:
        permissions = [("decide_approval", "Can decide approvals of others")]
        indexes = [
            models.Index(fields=["expires_at"], name="approval_pending", condition=Q(state="pending")),
            models.Index(fields=["agent_session", "-id"], name="approval_of_session"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["turn", "step"], name="approval_one_per_step"),
            models.CheckConstraint(
                condition=Q(state__in=[state.value for state in ApprovalState]), name="approval_state_known"
            ),
            models.CheckConstraint(
                condition=Q(state="pending", decided_at__isnull=True)
                | ~Q(state="pending") & Q(decided_at__isnull=False),
                name="approval_decided_exactly_once",
            ),
            models.CheckConstraint(condition=Q(used_at__isnull=True) | Q(state="approved"), name="approval_used_if_so"),
        ]

    def __str__(self) -> str:
        return f"approval of {self.tool} ({self.state})"

    def audit_name(self) -> str:
        """The name of the tool; arguments do not go into the audit trail."""
        return self.tool


class ApprovalPass(models.Model):
    """For a while a tool's calls run without anybody's approval: in one session, or for one person. An owner grants it;
    calls that the release denies are denied nevertheless."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    agent = models.ForeignKey("Agent", on_delete=models.CASCADE, related_name="approval_passes", db_index=False)
    tool = models.CharField(max_length=64)
    agent_session = models.ForeignKey(
        "AgentSession", null=True, on_delete=models.CASCADE, related_name="approval_passes", db_index=False
    )
    user = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.CASCADE, related_name="approval_passes", db_index=False
    )
    reason = models.CharField(max_length=200)
    granted_by = models.ForeignKey(
        "accounts.User", null=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    granted_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "approval passes"
        permissions = [("grant_approvalpass", "Can let a tool's calls pass for a while")]
        indexes = [models.Index(fields=["agent", "tool", "expires_at"], name="approval_pass_of_tool")]
        constraints = [
            models.CheckConstraint(
                condition=Q(agent_session__isnull=True, user__isnull=False)
                | Q(agent_session__isnull=False, user__isnull=True),
                name="approval_pass_for_one",
            )
        ]

    def __str__(self) -> str:
        return f"pass for {self.tool}"

    def audit_name(self) -> str:
        """The name of the tool."""
        return self.tool
