"""Approvals: a call of a tool that a release lets run only after a person has agreed to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
MAX_APPROVAL_HOURS = 168
# The longest time for which an owner may let a tool's calls pass.
LONGEST_PASS_SECONDS = 8 * 3600


@dataclass(frozen=True, slots=True)
class StoredCall:
    """What is stored of a call that needs a person's approval: the tool and the arguments that may run, nothing else.

    `is_used`: its call was made, or may have been. `is_overdue`: it is pending, and nobody may decide it any more.
    """

    step: int
    state: ApprovalState
    tool: str
    arguments: str
    is_used: bool
    expires_at: datetime
    is_overdue: bool
    decider: Decider
    note: str = ""

    @property
    def refusal(self) -> str | None:
        """What the model reads in place of a result; None while the call is pending, and once it is approved."""
        match self.state:
            case ApprovalState.DENIED:
                who = "an operator" if self.decider is Decider.OPERATOR else "the user"
                says = f" They say: {self.note}" if self.note else ""
                return (
                    f"This call was refused by {who} and not run. Do not make it again unless you are asked to.{says}"
                )
            case ApprovalState.EXPIRED:
                return "This call was not run: it was not decided in time."
            case ApprovalState.CANCELLED:
                return "This call was not run: its approval was cancelled."
        return None
