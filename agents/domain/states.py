"""The states of turns and steps, and the legal moves of a turn, which a trigger in the database enforces, too."""

from __future__ import annotations

from datetime import timedelta
from enum import IntEnum, StrEnum


class TurnStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    RETRY_WAIT = "retry_wait"
    CANCELLING = "cancelling"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class StepStatus(StrEnum):
    INTENT = "intent"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


class StepKind(StrEnum):
    MODEL = "model"
    TOOL = "tool"
    FALLBACK = "fallback"  # what stands in for an answer that no model gave


class Priority(IntEnum):
    """Lower is served first. A turn of the background that has waited for `BACKGROUND_PATIENCE` counts as interactive,
    and goes by its age."""

    INTERACTIVE = 0
    BACKGROUND = 10

    @property
    def wire_name(self) -> str:
        """Its name on the wire."""
        return self.name.lower()


# After this a turn expires, in whatever status; the clock stands still while it, or one before it in its session, waits
# for a person or for children.
TURN_DEADLINE = timedelta(hours=1)
# How long interactive turns go before one of the background.
BACKGROUND_PATIENCE = timedelta(seconds=60)


class WaitReason(StrEnum):
    """What a turn in status `waiting` waits for. (One in `retry_wait` waits for a provider.)"""

    APPROVAL = "approval"
    CHILDREN = "children"
    BUDGET = "budget"

    @property
    def stops_the_clock(self) -> bool:
        """Whether the turn's deadline is moved by the length of the wait: people, and turns with a deadline of their
        own, may take their time."""
        return self is not WaitReason.BUDGET


# The waits that stop the clock, as rows have them.
STOPPED_CLOCKS = frozenset(reason.value for reason in WaitReason if reason.stops_the_clock)


class WhenBusy(StrEnum):
    """What a second message does while a turn of the session is open."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"


S = TurnStatus

# "queued → failed" is an operator who fails a turn; "running → queued" is a lost lease, a drain or an operator;
# "cancelling → completed" is an answer that was complete before the cancellation arrived.
TURN_MOVES: dict[TurnStatus, frozenset[TurnStatus]] = {
    S.QUEUED: frozenset({S.RUNNING, S.CANCELLED, S.EXPIRED, S.FAILED}),
    S.RUNNING: frozenset({S.WAITING, S.RETRY_WAIT, S.CANCELLING, S.COMPLETED, S.FAILED, S.EXPIRED, S.QUEUED}),
    S.WAITING: frozenset({S.QUEUED, S.CANCELLED, S.EXPIRED, S.FAILED}),
    S.RETRY_WAIT: frozenset({S.QUEUED, S.CANCELLED, S.EXPIRED, S.FAILED}),
    S.CANCELLING: frozenset({S.CANCELLED, S.COMPLETED, S.EXPIRED}),
    S.COMPLETED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.EXPIRED: frozenset(),
}

TERMINAL = frozenset(status for status, moves in TURN_MOVES.items() if not moves)
# A turn in one of these has an owner: a runner with a lease and an epoch. At most one per session.
OWNED = frozenset({S.RUNNING, S.CANCELLING})
# A turn in one of these has released its runner and will resume where it was.
PARKED = frozenset({S.WAITING, S.RETRY_WAIT})

# A turn whose lease was lost more often than this without one step of progress fails with `worker_crashed`.
MAX_ATTEMPTS_WITHOUT_PROGRESS = 3
# One whose lease was lost more often than this while a tool of it ran fails with `tool_stalled`, whatever its progress:
# a model may call the same tool again and again.
MAX_TOOL_STALLS = 1
