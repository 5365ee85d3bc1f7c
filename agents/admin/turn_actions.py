"""The operator actions on turns and sessions: their labels, texts and the rows that they apply to."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from agents.admin.actions import OperatorAction
from agents.domain.states import TERMINAL, TurnStatus
from agents.models import Turn
from agents.permissions.role_permissions import CANCEL_TURN, FAIL_TURN, REQUEUE_TURN, RETRY_TURN
from agents.sessions.requeue import REQUEUABLE
from agents.sessions.retry import RETRIABLE

_OPEN = Q(finished_at__isnull=True)

CANCEL = OperatorAction(
    label="Cancel",
    done_label="Cancelled or about to be",
    description="Only turns that have not ended can be cancelled.\n"
    "A waiting turn ends at once. A running one ends within seconds; what it has said so far stays in the chat, marked "
    "as cut short. The user sees that the answer was stopped.",
    applies_to=_OPEN & ~Q(status=TurnStatus.CANCELLING),
    operation="cancel",
    danger=True,
)
RETRY = OperatorAction(
    label="Retry",
    done_label="Asked again",
    description="Only turns that failed, expired or were cancelled can be retried, and only if nobody has asked their "
    "question again.\n"
    "The same question is asked again, as a new turn beside the old one, and the chat shows the new one.",
    applies_to=Q(status__in=sorted(RETRIABLE), retried_by__isnull=True),
    operation="retry",
    costs=True,
)
REQUEUE = OperatorAction(
    label="Requeue",
    done_label="Back in the queue",
    description="Only turns that run or wait can be requeued.\n"
    "The turn is taken away from its runner and another one begins it again; the user sees the answer start anew. "
    "Tools that may already have taken effect are not run twice.",
    applies_to=_OPEN & Q(status__in=sorted(REQUEUABLE)),
    operation="requeue",
)
FAIL = OperatorAction(
    label="Fail turn",
    done_label="Failed",
    description="Only turns that have not ended can be failed.\n"
    "The turn fails for good with the error `set_aside`, so that its session goes on with the next message. The user "
    "sees that an operator ended the work on this message.",
    applies_to=_OPEN,
    operation="fail_turn",
    danger=True,
)
CANCEL_OPEN = OperatorAction(
    label="Cancel all open turns",
    done_label="Sessions whose turns were cancelled",
    description="Only sessions with open turns are concerned.\n"
    "Every turn that waits or runs in them is cancelled; what was said so far stays.",
    applies_to=Q(open_turns__gt=0),
    operation="cancel_open",
    danger=True,
)

FORK_WORDS = (
    "A new session begins with a copy of this conversation, as the user sees it, and with the same release. It belongs "
    "to you: the user sees nothing of it. Turns, steps and ratings stay here."
)


@dataclass(frozen=True, slots=True)
class TurnAction:
    """A button on the page of a turn: the admin action that it posts, and the states in which it is offered."""

    action: str
    label: str
    permission: str
    states: frozenset[TurnStatus]
    danger: bool = False
    # Not offered for a turn whose question was asked again.
    once: bool = False

    def is_offered(self, turn: Turn) -> bool:
        """Whether the button is offered for `turn` as it is now."""
        return turn.status in self.states and not (self.once and turn.retried_by_id)


_NOT_ENDED = frozenset(TurnStatus) - TERMINAL
TURN_ACTIONS = (
    TurnAction("cancel", "Cancel", CANCEL_TURN, _NOT_ENDED - {TurnStatus.CANCELLING}),
    TurnAction("requeue", "Requeue", REQUEUE_TURN, REQUEUABLE),
    TurnAction("fail_turn", "Fail turn", FAIL_TURN, _NOT_ENDED, danger=True),
    TurnAction("retry", "Retry", RETRY_TURN, RETRIABLE, once=True),
)

# By `BulkAction.act`.
OPERATOR_ACTIONS = {action.operation: action for action in (CANCEL, RETRY, REQUEUE, FAIL, CANCEL_OPEN)}
