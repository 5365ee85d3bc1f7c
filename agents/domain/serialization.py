"""JSON shapes on the wire, shared by REST, events and snapshots. The SQL of the hot path builds equal ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from agents.domain.failures import parse_error_class
from agents.domain.message_parts import SOME_PERSON
from agents.domain.response_fallbacks import Fallback
from agents.domain.states import Priority, TurnStatus
from agents.domain.usage import usage_shape
from foundation.errors import BandstandError

Shape = dict[str, Any]


def moment(value: datetime) -> str:
    """A moment in UTC, ISO 8601 with microseconds, as in `2026-11-22T08:15:30.000001Z`."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(value: datetime | None) -> str | None:
    return moment(value) if value else None


def message_shape(message: Any) -> Shape:
    """`message` is a row of `Message`. `feedback` is the rating of whom `agents.sessions.messages` read it for."""
    return {
        "id": str(message.id),
        "ordinal": message.ordinal,
        "author": str(message.author),
        "parts": message.parts,
        "turn": str(message.turn_id) if message.turn_id else None,
        "parent": str(message.parent_id) if message.parent_id else None,
        "partial": message.partial,
        "feedback": feedback_shape(getattr(message, "rated", None), getattr(message, "comment", "")),
        "created_at": moment(message.created_at),
    }


def feedback_shape(value: int | None, comment: str) -> Shape | None:
    """A rating, 1 or -1, with its comment; None when there is no rating."""
    return None if value is None else {"value": "up" if value > 0 else "down", "comment": comment}


def error_shape(*, error_class: str, detail: str, error_id: UUID | None, retry_at: datetime | None = None) -> Shape:
    """Why a turn failed, as people may read it; with `retry_at`, when trying again may help."""
    shape: Shape = {
        "error_class": error_class,
        "detail": detail,
        "error_id": str(error_id) if error_id else None,
        "retry_suggested": retry_suggested(error_class),
    }
    if retry_at is not None:
        shape["retry_at"] = moment(retry_at)
    return shape


def session_shape(session: Any) -> Shape:
    """`session` is a row of `AgentSession` with its agent and release."""
    return {
        "id": str(session.id),
        "agent": session.agent.slug,
        "release": session.release.number,
        "title": session.title,
        "metadata": session.metadata,
        "controller": str(session.controller),
        "version": session.version,
        "head": str(session.head_message_id) if session.head_message_id else None,
        "created_at": moment(session.created_at),
    }


def approval_shape(approval: Any) -> Shape:
    """`approval` is a row of `Approval`, as the event `approval.requested` says it."""
    return {
        "approval": str(approval.id),
        "step": approval.step,
        "call_id": approval.call_id,
        "tool": approval.tool,
        "arguments": approval.arguments,
        "reasons": approval.reasons,
        "who": str(approval.decider),
        "until": moment(approval.expires_at),
    }


def decided_approval_shape(approval: Any) -> Shape:
    """`approval` is a row of `Approval` that was decided."""
    return {
        "approval": str(approval.id),
        "session": str(approval.agent_session_id),
        "turn": str(approval.turn_id),
        "step": approval.step,
        "call_id": approval.call_id,
        "tool": approval.tool,
        "arguments": approval.arguments,
        "state": str(approval.state),
        "note": approval.note,
        "decided_at": moment(approval.decided_at),
    }


def person_name(user: Any) -> str | None:
    """How the users of a session read the name of the operator `user` who answers them; None for nobody."""
    return None if user is None else (user.get_full_name() or SOME_PERSON)


def listed_shape(session: Any) -> Shape:
    """`session_shape` with `updated_at`, by which lists of sessions are ordered."""
    return {**session_shape(session), "updated_at": moment(session.updated_at)}


def retry_suggested(error_class: str) -> bool:
    """Whether a second try may succeed, by the name of an error class; False for an unknown one."""
    parsed = parse_error_class(error_class)
    return parsed is not None and parsed.failure.retry_suggested


def turn_error(turn: Any) -> Shape | None:
    """The error of a turn's row; None unless it failed."""
    if not turn.error_class:
        return None
    return error_shape(
        error_class=turn.error_class,
        detail=turn.error_detail,
        error_id=turn.error_id,
        retry_at=turn.error_retry_at,
    )


def calls_shape(calls: Sequence[Mapping[str, Any]], *, completed: bool, fallback: str | None = None) -> Shape:
    """Whom a turn has asked: `calls` are the model calls that have an outcome, oldest first, each as `{"route",
    "answered"}`; `fallback` is what it ended with in place of an answer of its chain."""
    routes = [call["route"] for call in calls if call["answered"]]
    by_model = completed and fallback in (None, Fallback.SIMPLIFIED_RESPONSE)
    return {
        "answered_by": routes[-1] if routes and by_model else None,
        "attempts": len(calls),
        "fallback": fallback,
    }


def turn_shape(
    turn: Any, answer: Any | None = None, *, position: int | None = None, approvals: Iterable[Any] = ()
) -> Shape:
    """`turn` is a row of `Turn` with the annotation `calls` (see `agents.sessions.access`), `answer` the row of its
    agent's message if there is one, `approvals` are the rows of its pending ones.

    `position` is how many turns of its session come before it, while it is queued.
    """
    return {
        "id": str(turn.id),
        "session": str(turn.agent_session_id),
        "status": str(turn.status),
        "priority": Priority(turn.priority).wire_name,
        "ordinal": turn.ordinal,
        "position": position,
        "queued_at": moment(turn.queued_at),
        "started_at": _moment(turn.started_at),
        "finished_at": _moment(turn.finished_at),
        "error": turn_error(turn),
        "usage": usage_shape(turn.input_tokens, turn.output_tokens, turn.cost_usd),
        **calls_shape(turn.calls, completed=turn.status == TurnStatus.COMPLETED, fallback=turn.fallback),
        "approvals": [approval_shape(approval) for approval in approvals],
        "answer": message_shape(answer) if answer is not None else None,
    }


def error_frame(error: BandstandError, *, ref: str | None = None) -> Shape:
    """An error on a live connection: a frame of the websocket, or the last event of a stream.

    `ref` is the client's id of the frame that caused it.
    """
    shape: Shape = {
        "type": "error",
        "code": error.code,
        "detail": error.detail,
        "ref": ref,
        "retryable": error.retryable,
    }
    if error.retry_after_seconds is not None:
        shape["retry_after_ms"] = round(error.retry_after_seconds * 1000)
    if (resets_at := error.context.get("resets_at")) is not None:
        shape["resets_at"] = moment(resets_at)
    return shape
