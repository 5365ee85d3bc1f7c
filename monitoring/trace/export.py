"""The traces of a session as one JSON file, for whoever looks into it elsewhere: turns, steps, spans, what models were
sent and what came back.

Streamed: one turn is in memory at a time. Bounded: what does not fit is counted. Secrets of the installation, and
whatever is shaped like a key, are scrubbed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import has_permission, require_permission
from agents.domain.serialization import moment, session_shape
from agents.domain.states import StepKind
from agents.engine.rebuilt_request import rebuild_request
from agents.models import AgentSession, Message, Release, Step, Turn
from agents.permissions.transcripts import require_transcript
from foundation import strict_json
from foundation.clock import now
from foundation.errors import BandstandError, NotFound
from memory.role_permissions import READ_MEMORY_TEXT
from monitoring.debugging import modes_of
from monitoring.models import DebugMode
from monitoring.role_permissions import EXPORT_TRACE
from monitoring.secret_scrubber import secret_scrubber
from monitoring.spans.reading import StoredSpan
from monitoring.trace.reading import Trace, find_tools, read_trace
from monitoring.trace.sent_view import request_json

FORMAT: Final = "bandstand.traces"
VERSION: Final = 1
# The newest turns of a session. After so many bytes the others are counted only; requests are built again until so
# many bytes of them, since each holds the conversation anew.
MAX_TURNS: Final = 1_000
MAX_BYTES: Final = 128 * 1024 * 1024
MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024
# A message is exported once, whatever its size; more of one turn is left out.
_MAX_MESSAGES: Final = 10


@dataclass(frozen=True, slots=True)
class SessionExport:
    """An export that was permitted and noted. `with_memories`: its reader may read memories."""

    session: AgentSession
    actor: Actor
    with_memories: bool

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return f"traces-{self.session.pk}.json"


@transaction.atomic
def begin_export(actor: Actor, session_id: UUID) -> SessionExport:
    """Permit an export, and note it in the audit trail. Raises `NotFound`, and `Forbidden` for those who may not export
    traces or not read the transcript."""
    require_permission(actor, EXPORT_TRACE)
    session = AgentSession.objects.select_related("agent", "release").filter(pk=session_id).first()
    if session is None:
        raise NotFound("There is no such session.")
    require_transcript(actor, session.agent)
    record_audit(actor, "traces.exported", target=session)
    return SessionExport(session, actor, has_permission(actor, READ_MEMORY_TEXT))


def export_pieces(
    export: SessionExport,
    *,
    max_turns: int = MAX_TURNS,
    max_bytes: int = MAX_BYTES,
    max_request_bytes: int = MAX_REQUEST_BYTES,
) -> Iterator[bytes]:
    """The file, a turn at a time: `{format, version, exported_at, session, debug_modes, releases, turns, left_out}`."""
    scrub = secret_scrubber()
    session = export.session
    ids = list(Turn.objects.filter(agent_session=session).order_by("-ordinal").values_list("pk", flat=True))
    exported_ids = ids[:max_turns][::-1]
    turns = Turn.objects.filter(pk__in=exported_ids)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": moment(now()),
        "exported_by": export.actor.name,
        "session": session_shape(session),
        "debug_modes": [_mode_json(mode) for mode in _modes(session)],
        "releases": [
            {"id": str(release.pk), "number": release.number, "configuration": release.configuration}
            for release in Release.objects.filter(pk__in=turns.values("release"))
        ],
    }
    first = _dump(head, scrub)[:-1] + b',"turns":['
    yield first
    size, requests, exported, unbuilt = len(first), 0, 0, 0
    for turn_id in exported_ids:
        turn = Turn.objects.select_related("release__agent").filter(pk=turn_id).first()
        if turn is None:
            continue  # deleted meanwhile
        if size > max_bytes:
            break
        body = _turn_json(read_trace(turn))
        for step, row in zip(body["steps"], Step.objects.filter(turn=turn).order_by("number"), strict=False):
            if row.kind != StepKind.MODEL:
                continue
            if requests > max_request_bytes:
                unbuilt += 1
                continue
            step["sent"] = _sent(row, turn, with_memories=export.with_memories)
            requests += len(_dump(step["sent"], str))
        piece = (b"," if exported else b"") + _dump(body, scrub)
        size, exported = size + len(piece), exported + 1
        yield piece
    left_out = {"turns": len(ids) - exported, "requests": unbuilt}
    yield b'],"left_out":' + strict_json.dumps(left_out) + b"}"


def _turn_json(trace: Trace) -> dict[str, Any]:
    turn = trace.turn
    messages = Message.objects.filter(turn=turn).order_by("ordinal")[:_MAX_MESSAGES]
    return {
        **trace.as_json(),
        "id": str(turn.pk),
        "release": turn.release.number,
        "queued_at": moment(turn.queued_at),
        "finished_at": moment(turn.finished_at) if turn.finished_at else None,
        "error_detail": turn.error_detail or None,
        "messages": [
            {"id": str(message.pk), "author": message.author, "partial": message.partial, "parts": message.parts}
            for message in messages
        ],
        "steps": [_step_json(step) for step in trace.steps],
        "spans": [_span_json(span) for span in trace.spans],
    }


def _step_json(step: Step) -> dict[str, Any]:
    return {
        "number": step.number,
        "kind": step.kind,
        "name": step.name,
        "status": step.status,
        "error_class": step.error_class or None,
        "started_at": moment(step.started_at),
        "finished_at": moment(step.finished_at) if step.finished_at else None,
        "input_tokens": step.input_tokens,
        "output_tokens": step.output_tokens,
        "cost_usd": None if step.cost_usd is None else f"{step.cost_usd:f}",
        "details": step.details,
        "request": step.request,
        "result": step.result,
    }


def _sent(step: Step, turn: Turn, *, with_memories: bool) -> dict[str, Any]:
    try:
        return request_json(rebuild_request(step, turn, find_tools), with_memories=with_memories)
    except BandstandError as error:
        return {"unknown": error.detail}


def _span_json(span: StoredSpan) -> dict[str, Any]:
    return {
        "name": span.name,
        "started_at": moment(span.started_at),
        "seconds": round(span.seconds, 6),
        "error_type": span.error_type or None,
        "attributes": dict(span.attributes),
    }


def _modes(session: AgentSession) -> list[DebugMode]:
    """Those that last, and the last ones that were of this session alone."""
    lasting = list(modes_of(session))
    since = now() - timedelta(days=90)
    earlier = DebugMode.objects.filter(session=session.pk, begun_at__gt=since).exclude(
        pk__in=[one.pk for one in lasting]
    )
    return [*lasting, *earlier[:20]]


def _mode_json(mode: DebugMode) -> dict[str, Any]:
    return {
        "of": "agent" if mode.session is None else "session",
        "reason": mode.reason,
        "begun_by": mode.begun_by,
        "begun_at": moment(mode.begun_at),
        "until": moment(mode.until),
        "ended_at": moment(mode.ended_at) if mode.ended_at else None,
    }


def _dump(value: Any, scrub: Callable[[str], str]) -> bytes:
    scrubbed = _scrubbed(value, scrub)
    try:
        return strict_json.dumps(scrubbed)
    except orjson.JSONEncodeError:
        # The schema of a client's tool may hold numbers that only some can read.
        return json.dumps(scrubbed, default=str).encode()


def _scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {scrub(str(name)): _scrubbed(item, scrub) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(item, scrub) for item in value]
    return value
