"""The pages of a trace in the console: the waterfall of a turn, and what one call of a model was sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from uuid import UUID

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import content_disposition_header

from accounts.permissions import user_actor
from agents.admin.badges import status_badge
from agents.admin.transcript.steps import TranscriptStep, step_view
from agents.admin.turn_numbers import turn_numbers
from agents.domain.states import StepKind
from agents.engine.rebuilt_request import rebuild_request
from agents.models import AgentSession, Step, Turn
from agents.permissions.trials import can_read_session
from console.confirmation import confirmation_page
from console.formatting import format_money, format_tokens
from console.views import NamedRow, console_page, row_url
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.errors import BandstandError
from memory.role_permissions import READ_MEMORY_TEXT
from monitoring.debugging import modes_of
from monitoring.role_permissions import EXPORT_TRACE
from monitoring.trace.export import begin_export, export_pieces
from monitoring.trace.reading import find_tools, read_trace
from monitoring.trace.sent_view import view_request
from monitoring.trace.waterfall import make_waterfall

_EXPORT_WORDS: Final = (
    "One JSON file with all turns of the session: their steps and spans, what models were sent and what came back, "
    "word for word. Secrets of this installation are removed; what people wrote is not. It is noted in the audit trail."
)


def trace_page(request: HttpRequest, turn_id: UUID) -> TemplateResponse:
    """The waterfall of a turn, what its steps say of it, and where the time went. 404 for a turn that is not there."""
    model_admin = _turn_admin(request)
    turn = Turn.objects.select_related("release", "user", "agent_session__agent").filter(pk=turn_id).first()
    if turn is None:
        raise Http404
    readable = can_read_session(request.user, turn.agent_session)
    trace, moment = read_trace(turn), now()
    views = {step.pk: step_view(step, readable=readable, ended_at=turn.finished_at, now=moment) for step in trace.steps}
    waterfall = make_waterfall(trace.timeline)
    return console_page(
        request,
        model_admin,
        "console/trace.html",
        title=(name := f"Trace of turn {turn_numbers([turn])[turn.pk]}"),
        opts=model_admin.model._meta,
        original=NamedRow(turn, name),
        turn=turn,
        status=status_badge(turn.status),
        tokens=format_tokens(turn.input_tokens, turn.output_tokens),
        cost=format_money(turn.cost_usd),
        readable=readable,
        summary=trace.summary,
        sentences=trace.summary.sentences(),
        waterfall=waterfall,
        rows=[(row, _view(row.part.step, views)) for row in waterfall.rows],
        late_followers=trace.timeline.late_followers,
        has_spans=bool(trace.spans),
        debug_modes=modes_of(turn.agent_session),
    )


def sent_request_page(request: HttpRequest, step_id: int) -> TemplateResponse:
    """What a call of a model was sent, and what came back. Only for those who may read the transcript."""
    model_admin = _turn_admin(request)
    step = Step.objects.select_related("turn__release", "turn__agent_session__agent").filter(pk=step_id).first()
    if step is None:
        raise Http404
    turn = step.turn
    if not can_read_session(request.user, turn.agent_session):
        raise PermissionDenied
    sent, fault = None, ""
    try:
        sent = view_request(rebuild_request(step, turn, find_tools)) if step.kind == StepKind.MODEL else None
    except BandstandError as error:
        fault = error.detail
    return console_page(
        request,
        model_admin,
        "console/sent_request.html",
        title=f"What step {step.number} was sent",
        opts=model_admin.model._meta,
        original=NamedRow(turn, f"Step {step.number}"),
        turn=turn,
        trace=reverse("admin:agents_turn_trace", args=[turn.pk]),
        step=step,
        view=step_view(step, readable=True, ended_at=turn.finished_at, now=now()),
        sent=sent,
        fault=fault,
        can_read_memories=request.user.has_perm(READ_MEMORY_TEXT),
        came_back=_came_back(step),
    )


def export_traces(request: HttpRequest, session_id: UUID) -> HttpResponseBase:
    """Confirm, then send the traces of a session as a file."""
    session = AgentSession.objects.select_related("agent").filter(pk=session_id).first()
    if session is None or not request.user.has_perm("agents.view_agentsession"):
        raise Http404
    if not (request.user.has_perm(EXPORT_TRACE) and can_read_session(request.user, session)):
        raise PermissionDenied
    confirmation = confirmation_page(
        request,
        admin.site.get_model_admin(AgentSession),
        title="Export the traces of this session?",
        message=_EXPORT_WORDS,
        yes="Download the file",
        back=row_url(session),
    )
    if confirmation is not None:
        return confirmation
    export = begin_export(user_actor(request.user), session.pk)
    headers = {
        "Cache-Control": "no-store",
        # Else Django compresses each piece of an asynchronous stream on its own, and browsers read the first one only.
        "Content-Encoding": "identity",
        "Content-Disposition": content_disposition_header(True, export.file_name) or "attachment",
    }
    return StreamingHttpResponse(_stream(export_pieces(export)), content_type="application/json", headers=headers)


async def _stream(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """`pieces`, each made in a database thread when the one before is on its way."""
    while (piece := await in_db_thread(next, pieces, None)) is not None:
        yield piece


def _turn_admin(request: HttpRequest) -> ModelAdmin[Any]:
    """The admin of turns. Raises `PermissionDenied` for those who may not see them."""
    model_admin = admin.site.get_model_admin(Turn)
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    return model_admin


def _view(step: Step | None, views: dict[int, TranscriptStep]) -> TranscriptStep | None:
    return views.get(step.pk) if step is not None else None


def _came_back(step: Step) -> list[tuple[str, str]]:
    """What a model answered: its text, its reasoning and its calls, whole but for very long ones."""
    result = step.result if isinstance(step.result, dict) else {}
    calls = [f"{call['name']} {call['arguments']}" for call in result.get("tool_calls", ())]
    parts = [
        ("text", result.get("text", "")),
        ("reasoning", result.get("reasoning", "")),
        ("calls of tools", "\n".join(calls)),
        ("the answer ended early", result.get("finish_reason", "")),
    ]
    return [(name, text[:100_000]) for name, text in parts if text]
