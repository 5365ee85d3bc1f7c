"""Writes by the owner of a turn. Each function is one statement that begins with the fence: the update of the session's
row that only the current epoch matches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
from django.db import transaction

from agents.domain.handoffs import HandoffSource
from agents.domain.message_parts import Part
from agents.domain.serialization import moment
from agents.domain.states import StepKind, StepStatus, TurnStatus, WaitReason
from agents.domain.usage import BilledUsage
from agents.journal import sql
from agents.journal.claims import Claim
from agents.journal.handoff_rules import apply_turn_rules_locked
from agents.journal.handoff_writes import request_handoff_locked
from agents.journal.locked_writes import lock_session, lock_turn
from agents.journal.queries import fetch
from agents.models import AgentSession, Turn
from foundation.errors import BandstandError, NotFound


class LostTurn(BandstandError):
    """Another epoch owns this turn: stop, and write nothing."""

    code = "lost_turn"


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append: its type and its payload."""

    type: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Intent:
    """A step that is about to be tried. `name` is the tool's, or the route of a repeated model call."""

    number: int
    kind: StepKind
    name: str = ""
    call_id: str = ""
    idempotent: bool = False
    request: Any = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of a step. `name` is the route that was asked; None keeps the name of the intent. `details` are
    merged into those of the intent."""

    number: int
    status: StepStatus
    result: Any = None
    error_class: str = ""
    usage: BilledUsage = field(default_factory=BilledUsage)
    name: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """How a turn ends. `question_id` is the message that it answers, `message_id` the id of its answer. Without `parts`
    there is no answer, only the terminal status. `provider_extras` are stored with the answer.

    `fallback` is what it ends with in place of an answer; for `handoff_reason`, if it is set, a person is asked to take
    over. `error_retry_at`, when trying again may help, is stored with an `error_response` only. `has_rules`: the
    release may say that a person is asked for after such an end. `prompt_hash` is set where the
    answer may be shown again, for an equal one."""

    status: TurnStatus
    question_id: UUID
    message_id: UUID
    parts: Sequence[Part] = ()
    partial: bool = False
    provider_extras: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    error_class: str = ""
    error_detail: str = ""
    error_id: UUID | None = None
    error_retry_at: datetime | None = None
    usage: BilledUsage = field(default_factory=BilledUsage)
    fallback: str = ""
    handoff_reason: str = ""
    has_rules: bool = False
    prompt_hash: bytes | None = None


def dump_json(value: Any) -> str:
    """`value` as JSON text; dataclasses become objects."""
    return orjson.dumps(value, default=_dump_decimal).decode()


def _dump_decimal(value: Any) -> str:
    """Called by `orjson` for other types: decimals become strings, exactly."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"{type(value).__name__} does not go into a row.")


def fence_params(claim: Claim, events: Sequence[NewEvent]) -> dict[str, Any]:
    """The parameters of the fence of `claim`, for a statement that appends `events`."""
    return {
        "session": claim.session_id,
        "turn": claim.turn_id,
        "epoch": claim.epoch,
        "count": len(events),
        "events": dump_json(events),
    }


def append(claim: Claim, events: Sequence[NewEvent]) -> int:
    """Append events to the session's log and return the seq of the last. Raises `LostTurn`."""
    rows = fetch(sql.APPEND, fence_params(claim, events))
    if not rows:
        raise LostTurn
    return int(rows[0][0])


def append_each(writes: Sequence[tuple[Claim, NewEvent]]) -> set[tuple[UUID, int]]:
    """Append one event for each of these turns, in one commit, and return (turn id, epoch) of each that was written.

    The others are lost, or another transaction holds the lock of their sessions; `append` tells which of the two.
    """
    rows = fetch(
        sql.APPEND_EACH,
        {
            "writes": dump_json(
                [
                    {
                        "session": claim.session_id,
                        "turn": claim.turn_id,
                        "epoch": claim.epoch,
                        "type": event.type,
                        "data": event.data,
                    }
                    for claim, event in writes
                ]
            )
        },
    )
    return {row[:2] for row in rows}


def advance(
    claim: Claim,
    *,
    outcomes: Sequence[StepOutcome] = (),
    intents: Sequence[Intent] = (),
    events: Sequence[NewEvent] = (),
) -> int:
    """Commit outcomes, the next intents and their events together; return the seq of the last event. Raises
    `LostTurn`."""
    rows = fetch(sql.ADVANCE, advance_params(claim, outcomes, intents, events))
    if not rows:
        raise LostTurn
    return int(rows[0][0])


def advance_params(
    claim: Claim, outcomes: Sequence[StepOutcome], intents: Sequence[Intent], events: Sequence[NewEvent]
) -> dict[str, Any]:
    """The parameters of `sql.ADVANCE`."""
    return fence_params(claim, events) | {
        "outcomes": dump_json(outcomes),
        "intents": dump_json(intents),
        "progress": any(step.result is not None for step in outcomes),
    }


def reopen(claim: Claim, numbers: Sequence[int]) -> None:
    """Commit that this claim is about to try open steps whose intents an earlier one wrote. Raises `LostTurn`."""
    if not fetch(sql.REOPEN, fence_params(claim, ()) | {"numbers": list(numbers)}):
        raise LostTurn


def park(
    claim: Claim,
    *,
    until: datetime,
    reason: WaitReason | None = None,
    resume_at: datetime | None = None,
    outcomes: Sequence[StepOutcome] = (),
    intents: Sequence[Intent] = (),
    events: Sequence[NewEvent] = (),
    waits_for: Sequence[str] = (),
) -> bool:
    """Release the turn from its runner: it waits for `reason`, or for a provider if that is None, until `until` at the
    latest. It resumes at `resume_at`, by default `until`, if nothing wakes it before.

    `waits_for` are routes of models that the open call of a model waits for; without one they are not kept.

    Outcomes, intents and events commit with it. Steps that are open then must not have been tried, since the next claim
    tries them. Returns False, and nothing is written, when the turn is to be cancelled. Raises `LostTurn`.
    """
    status = TurnStatus.WAITING if reason else TurnStatus.RETRY_WAIT
    wait = NewEvent(f"turn.{status}", ({"for": reason} if reason else {}) | {"until": moment(until)})
    rows = fetch(
        sql.PARK,
        fence_params(claim, [*events, wait])
        | {
            "outcomes": dump_json(outcomes),
            "intents": dump_json(intents),
            "status": status.value,
            "resume_at": resume_at or until,
            "wait_reason": reason.value if reason else "",
            "stops_the_clock": reason is not None and reason.stops_the_clock,
            # A model call that failed has no result, and is no progress.
            "progress": any(step.result is not None for step in outcomes),
            "waits_for": dump_json(waits_for) if waits_for else None,
        },
    )
    if not rows:
        raise LostTurn
    return rows[0][0] is not None


@dataclass(frozen=True, slots=True)
class FinishedTurn:
    """`status` is the one that the turn really got; `open_turns` is the number of open turns left in its session."""

    status: TurnStatus
    open_turns: int


def finish(
    claim: Claim,
    end: TurnEnd,
    *,
    outcomes: Sequence[StepOutcome] = (),
    events: Sequence[NewEvent] = (),
    with_approvals: bool = False,
) -> FinishedTurn:
    """Commit the last outcomes, the last deltas, the answer and the terminal state together, and the request for a
    person, if the turn makes one. Raises `LostTurn`.

    `with_approvals`: calls of the turn may still wait for a person, which ends, too.
    """
    if not (end.handoff_reason or end.has_rules):
        return _finish(claim, end, outcomes, events, with_approvals=with_approvals)
    with transaction.atomic():
        session, turn = lock_owned(claim)
        if end.handoff_reason:
            request_handoff_locked(session, by=HandoffSource.FALLBACK, reason=end.handoff_reason, turn=turn)
        if end.has_rules and turn.status != TurnStatus.CANCELLING:
            apply_turn_rules_locked(session, turn, end.status)
        # Its fence and its seq are those of the locked row, so the request stands in the log before the turn's end.
        return _finish(claim, end, outcomes, events, with_approvals=with_approvals)


def lock_owned(claim: Claim) -> tuple[AgentSession, Turn]:
    """The session and the turn, locked. Raises `LostTurn` unless this claim owns the turn."""
    try:
        session = lock_session(claim.session_id)
    except NotFound:
        raise LostTurn from None
    if (session.active_turn_id, session.active_epoch) != (claim.turn_id, claim.epoch):
        raise LostTurn
    return session, lock_turn(session, claim.turn_id)


def _finish(
    claim: Claim, end: TurnEnd, outcomes: Sequence[StepOutcome], events: Sequence[NewEvent], *, with_approvals: bool
) -> FinishedTurn:
    marks: dict[str, Any] = {}
    if end.fallback or end.prompt_hash:
        marks = {
            "fallback": end.fallback or None,
            "prompt_hash": end.prompt_hash,
            "error_retry_at": end.error_retry_at,
        }
    rows = fetch(
        sql.FINISHES[bool(marks), with_approvals],
        fence_params(claim, events)
        | marks
        | {
            "outcomes": dump_json(outcomes),
            "status": end.status.value,
            "question": end.question_id,
            "message": end.message_id,
            "parts": dump_json(end.parts) if end.parts else None,
            "partial": end.partial,
            "provider_extras": dump_json(end.provider_extras) if end.provider_extras else None,
            "end_data": dump_json(end.data),
            "error_class": end.error_class,
            "error_detail": end.error_detail,
            "error_id": end.error_id,
            "input_tokens": end.usage.input_tokens,
            "output_tokens": end.usage.output_tokens,
            "cost_usd": end.usage.cost_usd,
        },
    )
    if not rows:
        raise LostTurn
    return FinishedTurn(status=TurnStatus(rows[0][0]), open_turns=rows[0][1])
