"""Every type of event that a session's log may hold, what it means, and the shape of its `data`.

The shapes are declared as typed dictionaries, so that mypy checks the writers in Python. Tests compare those in SQL,
the API's schema, the documents and the browser's sources with these declarations. What an event changes in a snapshot
is in `agents.domain.replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints

from agents.domain.approvals import ApprovalState, Decider
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.domain.failures import ErrorClass
from agents.domain.handoffs import HandoffOutcome, HandoffSource
from agents.domain.response_fallbacks import Fallback
from agents.domain.states import TERMINAL, Priority, TurnStatus, WaitReason
from agents.domain.steps import REFUSED, UNKNOWN


class Form(Enum):
    """What a string holds."""

    ID = auto()
    MOMENT = auto()
    TEXT = auto()


@dataclass(frozen=True, slots=True)
class OneOf:
    """A string that is one of `choices`."""

    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of strings of one form."""

    form: Form


@dataclass(frozen=True, slots=True)
class Shape:
    """A JSON object by its name in the API's schema; `agents.domain.serialization` makes it."""

    name: str


Id = Annotated[str, Form.ID]
Ids = Annotated[list[str], ListOf(Form.ID)]
Moment = Annotated[str, Form.MOMENT]
Texts = Annotated[list[str], ListOf(Form.TEXT)]
PriorityName = Annotated[str, OneOf(tuple(sorted(priority.wire_name for priority in Priority)))]
Session = Annotated[Mapping[str, Any], Shape("Session")]
Message = Annotated[Mapping[str, Any], Shape("Message")]
Feedback = Annotated[Mapping[str, Any], Shape("Feedback")]
Usage = Annotated[Mapping[str, Any], Shape("Usage")]
Error = Annotated[Mapping[str, Any], Shape("TurnError")]


class SessionData(TypedDict):
    session: Session


class MessageData(TypedDict):
    message: Message


class MessageDelta(TypedDict):
    text: Annotated[str, "The next words of the answer."]


class ReasoningDeltaData(TypedDict):
    text: Annotated[str, "The next words of the model's reasoning."]


class MessageRated(TypedDict):
    message: Id
    feedback: Feedback | None


class ToolCalled(TypedDict):
    step: int
    call_id: str
    name: str


class ToolStarted(ToolCalled):
    arguments: Annotated[str, "JSON text as the model wrote it."]


class ToolFinished(ToolCalled):
    content: str


class ToolFailed(ToolCalled):
    content: str
    outcome: NotRequired[
        Annotated[
            str,
            OneOf((UNKNOWN, REFUSED)),
            "unknown: it may have run, its runner died. refused: its release or a person did not let it run.",
        ]
    ]


class ModelRetrying(TypedDict):
    step: int
    route: Annotated[str, "Whom it asks now; null: nobody before it comes back from a wait, or a fallback."] | None
    reason: Annotated[str, OneOf(tuple(ErrorClass)), "The class of error of the attempt before."]


class MemoryRecalled(TypedDict):
    memories: Annotated[Ids, "What the model was reminded of, best first."]
    low_confidence: Annotated[bool, "None of them is near the question."]


class QuotaWarning(TypedDict):
    budget: Id
    subject: Annotated[str, OneOf(tuple(BudgetSubject)), "Whose calls draw on it."]
    unit: Annotated[str, OneOf(tuple(BudgetUnit))]
    period: Annotated[str, OneOf(tuple(BudgetPeriod))]
    used_percent: int
    resets_at: Annotated[Moment, "When it begins anew."]


class ApprovalRequested(TypedDict):
    approval: Id
    step: int
    call_id: str
    tool: str
    arguments: Annotated[str, "JSON text: the call that is stored and will run."]
    reasons: Annotated[Texts, "Why a person is asked."]
    who: Annotated[str, OneOf(tuple(Decider)), "Who may decide."]
    until: Annotated[Moment, "After this the call is refused."]


class ApprovalDecided(TypedDict):
    approval: Id
    step: int
    call_id: str
    tool: str
    decision: Annotated[str, OneOf(tuple(state for state in ApprovalState if state is not ApprovalState.PENDING))]
    by: Annotated[str, OneOf((*Decider, "system")), "Who decided; the system, where nobody did."]
    note: NotRequired[Annotated[str, "What the person says besides."]]


_Source = Annotated[str, OneOf(tuple(HandoffSource))]


class HandoffRequested(TypedDict):
    reason: Annotated[str, "Why; of a fallback, the class of the error."]
    by: _Source
    on_duty: NotRequired[Annotated[bool, "Whether a person is there to answer now."]]


class HandoffOpened(TypedDict):
    reason: str
    by: _Source
    assignee: Annotated[str, "The name of the person who answers from now on."] | None


class HandoffReturned(TypedDict):
    reason: Annotated[str, OneOf(tuple(HandoffOutcome)), "Why the agent answers again."]
    by: _Source
    assignee: NotRequired[Annotated[str, "The name of the operator who gave it back."]]


class HandoffResolved(TypedDict):
    reason: Annotated[str, OneOf(tuple(HandoffOutcome)), "How it ended."]
    by: _Source
    assignee: NotRequired[Annotated[str, "The name of the operator who has resolved it."]]


class TurnQueued(TypedDict):
    message: Id
    ordinal: int
    priority: PriorityName


class TurnRequeued(TypedDict):
    reason: Annotated[str, "Why it was given back to the queue, or woken."]


class TurnRestarted(TypedDict):
    epoch: Annotated[int, "Which attempt this is, from 1."]
    started_at: Moment


class TurnStarted(TurnRestarted):
    resumed: Annotated[bool, "It comes back from a wait and goes on: what it has shown still counts."]


class TurnRetryWait(TypedDict):
    until: Annotated[Moment, "When it goes on, if nothing wakes it before."]


# `for` is a Python keyword, so the class syntax is not possible here.
TurnWaiting = TypedDict(
    "TurnWaiting",
    {
        "for": Annotated[str, OneOf(tuple(WaitReason))],
        "until": Annotated[Moment, "When this wait ends, if nothing ends it or wakes the turn before."],
    },
)


class TurnCancelling(TypedDict):
    pass


_AnsweredBy = Annotated[str, "The route of the model that gave the answer; null: none."]
_Attempts = Annotated[int, "How often models were asked, calls that failed among them."]
_Fallback = Annotated[
    str,
    OneOf(tuple(Fallback)),
    "What it ended with in place of an answer of the agent's models; null: it has one, or stopped for another reason.",
]


class TurnCompleted(TypedDict):
    finished_at: Moment
    usage: Usage
    answered_by: NotRequired[_AnsweredBy | None]
    attempts: NotRequired[_Attempts]
    fallback: NotRequired[_Fallback | None]


class TurnEnded(TypedDict):
    finished_at: Moment
    reason: NotRequired[Annotated[Literal["handoff"], "A person has taken over the session."]]
    usage: NotRequired[Usage]
    error: NotRequired[Error]
    answered_by: NotRequired[_AnsweredBy | None]
    attempts: NotRequired[_Attempts]
    fallback: NotRequired[_Fallback | None]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an event says (`meaning`), the possible shapes of its `data`, and the status that it sets on its turn; None
    when it leaves the status as it was."""

    meaning: str
    shapes: tuple[type, ...]
    status: TurnStatus | None = None


class EventType(StrEnum):
    """The name of each type, as in rows and on the wire."""

    SESSION_UPDATED = "session.updated"
    MESSAGE_CREATED = "message.created"
    MESSAGE_DELTA = "message.delta"
    REASONING_DELTA = "reasoning.delta"
    MESSAGE_COMPLETED = "message.completed"
    MESSAGE_RATED = "message.rated"
    TOOL_STARTED = "tool.started"
    TOOL_FINISHED = "tool.finished"
    TOOL_FAILED = "tool.failed"
    MODEL_RETRYING = "model.retrying"
    MEMORY_RECALLED = "memory.recalled"
    QUOTA_WARNING = "quota.warning"
    APPROVAL_REQUESTED = "approval.requested"
    APPROVAL_DECIDED = "approval.decided"
    HANDOFF_REQUESTED = "handoff.requested"
    HANDOFF_OPENED = "handoff.opened"
    HANDOFF_RETURNED = "handoff.returned"
    HANDOFF_RESOLVED = "handoff.resolved"
    TURN_QUEUED = "turn.queued"
    TURN_STARTED = "turn.started"
    TURN_RESTARTED = "turn.restarted"
    TURN_WAITING = "turn.waiting"
    TURN_RETRY_WAIT = "turn.retry_wait"
    TURN_CANCELLING = "turn.cancelling"
    TURN_COMPLETED = "turn.completed"
    TURN_FAILED = "turn.failed"
    TURN_CANCELLED = "turn.cancelled"
    TURN_EXPIRED = "turn.expired"

    @property
    def declaration(self) -> Declaration:
        return _DECLARATIONS[self]


def _declare(meaning: str, *shapes: type, status: TurnStatus | None = None) -> Declaration:
    return Declaration(meaning, shapes, status)


_S, _E = TurnStatus, EventType
_DECLARATIONS = {
    _E.SESSION_UPDATED: _declare("The session is now like this: its title, its head, its settings.", SessionData),
    _E.MESSAGE_CREATED: _declare("Somebody wrote a message.", MessageData),
    _E.MESSAGE_DELTA: _declare("The turn goes on writing its answer.", MessageDelta),
    _E.REASONING_DELTA: _declare("The model goes on reasoning, which is no part of its answer.", ReasoningDeltaData),
    _E.MESSAGE_COMPLETED: _declare("The whole answer, or what there is of one that broke off.", MessageData),
    _E.MESSAGE_RATED: _declare("The user rated an answer, or took the rating back.", MessageRated),
    _E.TOOL_STARTED: _declare("The turn calls a tool.", ToolStarted),
    _E.TOOL_FINISHED: _declare("The tool has answered.", ToolFinished),
    _E.TOOL_FAILED: _declare("The tool has failed, or was not let run; the model is told so and goes on.", ToolFailed),
    _E.MODEL_RETRYING: _declare(
        "The model is asked once more: what it showed since the last tool call or result no longer counts.",
        ModelRetrying,
    ),
    _E.MEMORY_RECALLED: _declare("The model was reminded of what is remembered.", MemoryRecalled),
    _E.QUOTA_WARNING: _declare("Much of a budget that the turn draws on is used.", QuotaWarning),
    _E.APPROVAL_REQUESTED: _declare("A call of a tool waits until a person agrees.", ApprovalRequested),
    _E.APPROVAL_DECIDED: _declare("The call runs, or is refused.", ApprovalDecided),
    _E.HANDOFF_REQUESTED: _declare("A person is asked to take over the session.", HandoffRequested),
    _E.HANDOFF_OPENED: _declare("A person answers from now on, in place of the agent.", HandoffOpened),
    _E.HANDOFF_RETURNED: _declare("The agent answers again.", HandoffReturned),
    _E.HANDOFF_RESOLVED: _declare("The person is done; the agent answers what comes next.", HandoffResolved),
    _E.TURN_QUEUED: _declare(
        "The turn waits for a runner: a new one, one that was given back, or one that comes back from a wait.",
        TurnQueued,
        TurnRequeued,
        status=_S.QUEUED,
    ),
    _E.TURN_STARTED: _declare("A runner has begun the turn, or goes on with it.", TurnStarted, status=_S.RUNNING),
    _E.TURN_RESTARTED: _declare(
        "Begun anew, since its runner was lost: what it showed before no longer counts.",
        TurnRestarted,
        status=_S.RUNNING,
    ),
    _E.TURN_WAITING: _declare(
        "The turn waits without a runner; what it has shown still counts.", TurnWaiting, status=_S.WAITING
    ),
    _E.TURN_RETRY_WAIT: _declare(
        "The turn waits in the same way, since no model answers just now.", TurnRetryWait, status=_S.RETRY_WAIT
    ),
    _E.TURN_CANCELLING: _declare("Somebody wants the turn stopped.", TurnCancelling, status=_S.CANCELLING),
    _E.TURN_COMPLETED: _declare("The turn has its answer.", TurnCompleted, status=_S.COMPLETED),
    _E.TURN_FAILED: _declare("The turn has failed; `error` says why.", TurnEnded, status=_S.FAILED),
    _E.TURN_CANCELLED: _declare("The turn was stopped.", TurnEnded, status=_S.CANCELLED),
    _E.TURN_EXPIRED: _declare("The turn took longer than it may.", TurnEnded, status=_S.EXPIRED),
}

# The last event of a turn is one of these.
TERMINAL_EVENTS = frozenset(event_type.value for event_type, one in _DECLARATIONS.items() if one.status in TERMINAL)


@dataclass(frozen=True, slots=True)
class Field:
    """`kind` is `str`, `int`, `bool`, a `Literal`, or something more exact: a `Form`, a `ListOf`, a `OneOf` or a
    `Shape`."""

    kind: Any
    required: bool
    nullable: bool
    description: str


@cache
def payload_fields(shape: type) -> Mapping[str, Field]:
    """The fields of one of the typed dictionaries above, by name."""
    return {name: _field(hint) for name, hint in get_type_hints(shape, include_extras=True).items()}


def _field(hint: Any) -> Field:
    required = get_origin(hint) is not NotRequired
    if not required:
        [hint] = get_args(hint)
    marks, hint = _marks(hint)
    nullable = get_origin(hint) in (Union, UnionType) and NoneType in get_args(hint)
    if nullable:
        [hint] = [one for one in get_args(hint) if one is not NoneType]
        inner_marks, hint = _marks(hint)
        marks = (*inner_marks, *marks)
    kinds = [mark for mark in marks if not isinstance(mark, str)]
    description = "".join(mark for mark in marks if isinstance(mark, str))
    return Field(kinds[0] if kinds else hint, required, nullable, description)


def _marks(hint: Any) -> tuple[tuple[Any, ...], Any]:
    """The metadata of an `Annotated` type, and the type itself."""
    if get_origin(hint) is not Annotated:
        return (), hint
    inner, *marks = get_args(hint)
    return tuple(marks), inner
