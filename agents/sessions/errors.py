"""Errors of a session that does not accept a message."""

from agents.domain.failures import ErrorClass
from foundation.errors import Conflict, RateLimited


class TurnInProgress(Conflict):
    """A turn of this session is still open, and the agent takes one message at a time."""

    code = "turn_in_progress"
    retryable = True


class SessionQueueFull(RateLimited):
    """Too many messages wait in this session."""

    code = "session_queue_full"


class BudgetExhausted(RateLimited):
    """A budget is used up. Trying again does not help before it begins anew."""

    code = ErrorClass.BUDGET_EXCEEDED.value
    retryable = False


class HandedOff(Conflict):
    """A person answers in this session just now."""

    code = "handed_off"


class NotHandedOff(Conflict):
    """No person is wanted in this session, and none answers."""

    code = "not_handed_off"


class AnsweredByAnother(Conflict):
    """Somebody else answers in this session already."""

    code = "answered_by_another"


class HandoffNotOffered(Conflict):
    """Nobody can be asked to take over here."""

    code = "handoff_not_offered"
