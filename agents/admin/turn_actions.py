"""What operators may do to turns and sessions, in their words."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from agents.admin.actions import OperatorAction
from agents.domain.states import TERMINAL, TurnStatus
from agents.permissions.role_permissions import CANCEL_TURN, REQUEUE_TURN, RETRY_TURN, SET_ASIDE_TURN
from agents.sessions.requeue import REQUEUABLE
from agents.sessions.retry import RETRIABLE

_OPEN = Q(finished_at__isnull=True)

CANCEL = OperatorAction(
    yes="Cancel",
    done="Cancelled or about to be",
    words="Only turns that have not ended can be cancelled.\n"
    "A waiting turn ends at once. A running one ends within seconds; what it has said so far stays in the chat, marked "
    "as cut short. The user sees that the answer was stopped.",
    applies=_OPEN & ~Q(status=TurnStatus.CANCELLING),
    act="cancel",
    danger=True,
)
RETRY = OperatorAction(
    yes="Retry",
    done="Asked again",
    words="Only turns that failed, expired or were cancelled can be retried.\n"
    "The same question is asked again, as a new turn beside the old one, and the chat shows the new one. A turn that "
    "was retried before is not asked a third time.",
    applies=Q(status__in=sorted(RETRIABLE)),
    act="retry",
)
REQUEUE = OperatorAction(
    yes="Requeue",
    done="Back in the queue",
    words="Only turns that run or wait can be requeued.\n"
    "The turn is taken away from its runner and another one begins it again; the user sees the answer start anew. "
    "Tools that may already have taken effect are not run twice.",
    applies=_OPEN & Q(status__in=sorted(REQUEUABLE)),
    act="requeue",
)
SET_ASIDE = OperatorAction(
    yes="Set aside",
    done="Set aside",
    words="Only turns that have not ended can be set aside.\n"
    "The turn fails for good with the error “set aside”, so that its session goes on with the next message. The user "
    "sees that an operator ended the work on this message.",
    applies=_OPEN,
    act="set_aside",
    danger=True,
)
CANCEL_OPEN = OperatorAction(
    yes="Cancel all open turns",
    done="Sessions whose turns were cancelled",
    words="Only sessions with open turns are concerned.\n"
    "Every turn that waits or runs in them is cancelled; what was said so far stays.",
    applies=Q(open_turns__gt=0),
    act="cancel_open",
    danger=True,
)

FORK_WORDS = (
    "A new session begins with a copy of this conversation, as the user sees it, and with the same release. It belongs "
    "to you: the user sees nothing of it. Turns, steps and ratings stay here."
)


@dataclass(frozen=True, slots=True)
class TurnAction:
    """A button on the page of a turn: the action that it posts, and the states in which it is of use."""

    action: str
    words: str
    permission: str
    states: frozenset[TurnStatus]
    danger: bool = False


_NOT_ENDED = frozenset(TurnStatus) - TERMINAL
TURN_ACTIONS = (
    TurnAction("cancel", "Cancel", CANCEL_TURN, _NOT_ENDED - {TurnStatus.CANCELLING}),
    TurnAction("requeue", "Requeue", REQUEUE_TURN, REQUEUABLE),
    TurnAction("set_aside", "Set aside", SET_ASIDE_TURN, _NOT_ENDED, danger=True),
    TurnAction("retry", "Retry", RETRY_TURN, RETRIABLE),
)

# By the act, for what happens after the question.
OPERATOR_ACTIONS = {deed.act: deed for deed in (CANCEL, RETRY, REQUEUE, SET_ASIDE, CANCEL_OPEN)}
