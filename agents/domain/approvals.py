"""Approvals: a call of a tool that a release lets run only after a person has agreed to it."""

from __future__ import annotations

from enum import StrEnum


class ApprovalState(StrEnum):
    """The states of an approval; all but `pending` are final. Whether the call of an approved one was made is a time of
    its own (`Approval.used_at`)."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"  # nobody decided in time
    CANCELLED = "cancelled"  # its turn has ended, or was begun anew


class Decision(StrEnum):
    """What a person may decide, as on the wire."""

    APPROVE = "approve"
    DENY = "deny"

    @property
    def state(self) -> ApprovalState:
        """The state that the decision leads to."""
        return ApprovalState.APPROVED if self is Decision.APPROVE else ApprovalState.DENIED


class Decider(StrEnum):
    """Who may decide: the person whose turn it is, or an operator."""

    USER = "user"
    OPERATOR = "operator"


# How long an approval may be decided, where the release names no other time.
DEFAULT_APPROVAL_HOURS = 24
LONGEST_APPROVAL_HOURS = 168
# The longest time for which an owner may let a tool's calls pass.
LONGEST_PASS_SECONDS = 8 * 3600
