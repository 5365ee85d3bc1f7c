"""Every type of event that a session's log may hold, what it means, and the shape of its `data`.

The shapes are declared as typed dictionaries, so that writers in Python are checked by mypy; those in SQL build equal
ones, and tests hold them, the API's schema, the documents and the browser's sources against what stands here. What an
event makes of a snapshot is the law of `agents.domain.replay`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints

from agents.domain.failures import ErrorClass
from agents.domain.states import TERMINAL, Priority, TurnStatus, WaitReason


class Form(Enum):
    """What a string holds."""

    ID = auto()
    MOMENT = auto()


@dataclass(frozen=True, slots=True)
class OneOf:
    """A string that is one of a few words."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """An object of the wire, by its name in the API's schema; `agents.domain.serialization` makes it."""

    name: str


Id = Annotated[str, Form.ID]
Moment = Annotated[str, Form.MOMENT]
PriorityWord = Annotated[str, OneOf(tuple(sorted(priority.word for priority in Priority)))]
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
    outcome: NotRequired[Annotated[Literal["unknown"], "It may have run: its runner died."]]


class ModelRetrying(TypedDict):
    step: int
    route: Annotated[str, "Whom it asks now; null: nobody before it comes back from a wait."] | None
    reason: Annotated[str, OneOf(tuple(ErrorClass)), "The class of error of the attempt before."]


class TurnQueued(TypedDict):
    message: Id
    ordinal: int
    priority: PriorityWord


class TurnGivenBack(TypedDict):
    reason: Annotated[str, "Why it was given back to the queue, or woken."]


class TurnRestarted(TypedDict):
    epoch: Annotated[int, "Which attempt this is, from 1."]
    started_at: Moment


class TurnStarted(TurnRestarted):
    resumed: Annotated[bool, "It comes back from a wait and goes on: what it has shown still counts."]


class TurnRetryWait(TypedDict):
    until: Annotated[Moment, "When it goes on, if nothing wakes it before."]


# `for` is a word of Python.
TurnWaiting = TypedDict(
    "TurnWaiting",
    {
        "for": Annotated[str, OneOf(tuple(WaitReason))],
        "until": Annotated[Moment, "When it goes on, if nothing wakes it before."],
    },
)


class TurnCancelling(TypedDict):
    pass


class TurnCompleted(TypedDict):
    finished_at: Moment
    usage: Usage


class TurnEnded(TypedDict):
    finished_at: Moment
    usage: NotRequired[Usage]
    error: NotRequired[Error]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What an event says (`meaning`), in one of which shapes its `data` is, and in which state it leaves its turn; None
    when it leaves it as it was."""

    meaning: str
    shapes: tuple[type, ...]
    status: TurnStatus | None = None


class EventType(StrEnum):
    """Each is its name, as rows and the wire have it."""

    SESSION_UPDATED = "session.updated"
    MESSAGE_CREATED = "message.created"
    MESSAGE_DELTA = "message.delta"
    MESSAGE_COMPLETED = "message.completed"
    MESSAGE_RATED = "message.rated"
    TOOL_STARTED = "tool.started"
    TOOL_FINISHED = "tool.finished"
    TOOL_FAILED = "tool.failed"
    MODEL_RETRYING = "model.retrying"
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
        return _DECLARED[self]


def _declared(meaning: str, *shapes: type, status: TurnStatus | None = None) -> Declaration:
    return Declaration(meaning, shapes, status)


_S, _E = TurnStatus, EventType
_DECLARED = {
    _E.SESSION_UPDATED: _declared("The session is now like this: its title, its head, its settings.", SessionData),
    _E.MESSAGE_CREATED: _declared("Somebody wrote a message.", MessageData),
    _E.MESSAGE_DELTA: _declared("The turn goes on writing its answer.", MessageDelta),
    _E.MESSAGE_COMPLETED: _declared("The whole answer, or what there is of one that broke off.", MessageData),
    _E.MESSAGE_RATED: _declared("The user rated an answer, or took the rating back.", MessageRated),
    _E.TOOL_STARTED: _declared("The turn calls a tool.", ToolStarted),
    _E.TOOL_FINISHED: _declared("The tool has answered.", ToolFinished),
    _E.TOOL_FAILED: _declared("The tool has failed; the model is told so and goes on.", ToolFailed),
    _E.MODEL_RETRYING: _declared(
        "The model is asked once more: the text shown since the last tool call or result no longer counts.",
        ModelRetrying,
    ),
    _E.TURN_QUEUED: _declared(
        "The turn waits for a runner: a new one, one that was given back, or one that comes back from a wait.",
        TurnQueued,
        TurnGivenBack,
        status=_S.QUEUED,
    ),
    _E.TURN_STARTED: _declared("A runner has begun the turn, or goes on with it.", TurnStarted, status=_S.RUNNING),
    _E.TURN_RESTARTED: _declared(
        "Begun anew, since its runner was lost: what it showed before no longer counts.",
        TurnRestarted,
        status=_S.RUNNING,
    ),
    _E.TURN_WAITING: _declared(
        "The turn waits without a runner; what it has shown still counts.", TurnWaiting, status=_S.WAITING
    ),
    _E.TURN_RETRY_WAIT: _declared(
        "The turn waits in the same way, since no model answers just now.", TurnRetryWait, status=_S.RETRY_WAIT
    ),
    _E.TURN_CANCELLING: _declared("Somebody wants the turn stopped.", TurnCancelling, status=_S.CANCELLING),
    _E.TURN_COMPLETED: _declared("The turn has its answer.", TurnCompleted, status=_S.COMPLETED),
    _E.TURN_FAILED: _declared("The turn has failed; `error` says why.", TurnEnded, status=_S.FAILED),
    _E.TURN_CANCELLED: _declared("The turn was stopped.", TurnEnded, status=_S.CANCELLED),
    _E.TURN_EXPIRED: _declared("The turn took longer than it may.", TurnEnded, status=_S.EXPIRED),
}

# After one of these there is nothing more of a turn.
TERMINAL_EVENTS = frozenset(event_type.value for event_type, one in _DECLARED.items() if one.status in TERMINAL)


@dataclass(frozen=True, slots=True)
class Field:
    """`kind` is `str`, `int`, `bool`, a `Literal`, or what says more of it: a `Form`, a `OneOf`, a `Shape`."""

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
        more, hint = _marks(hint)
        marks = (*more, *marks)
    kinds = [mark for mark in marks if not isinstance(mark, str)]
    description = "".join(mark for mark in marks if isinstance(mark, str))
    return Field(kinds[0] if kinds else hint, required, nullable, description)


def _marks(hint: Any) -> tuple[tuple[Any, ...], Any]:
    """What `Annotated` says of a type, and the type."""
    if get_origin(hint) is not Annotated:
        return (), hint
    inner, *marks = get_args(hint)
    return tuple(marks), inner
