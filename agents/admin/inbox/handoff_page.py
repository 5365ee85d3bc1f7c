"""The page on which an operator reads and answers one conversation, live.

The words come as on the page of the session (`agents.admin.transcript.page`); beside them stand parts that are replaced
whole when something about the handoff has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse

from agents.admin.inbox.handoff_actions import (
    ASSIGN,
    NOTE,
    PRIORITY,
    REPLY,
    SNOOZE,
    HandoffAction,
    answered_by_another,
    is_assigned_to,
)
from agents.admin.inbox.inbox_labels import (
    argument_rows,
    call_reasons,
    describe_reason,
    first_reply,
    handoff_badge,
    is_late,
    operator_name,
    priority_badge,
    waiting_since,
    waiting_time,
)
from agents.admin.transcript.page import live_changes, transcript_context
from agents.admin.transcript.steps import shorten
from agents.domain.approvals import Decider
from agents.domain.handoffs import HandoffState
from agents.domain.states import StepStatus, TurnStatus
from agents.models import AgentSession, Approval, Handoff, Step, Turn
from agents.permissions.role_permissions import ANSWER_HANDOFF, DECIDE_APPROVAL
from agents.sessions.approvals import pending_approvals_for
from console.formatting import format_duration, format_moment
from console.views import NamedRow, console_page, row_url
from foundation.clock import now

# The parts of the page, each a template, in the order of the page.
_FACTS = (
    "is_open", "is_mine", "is_human", "other", "badge", "reason", "times", "priority", "assignee", "may_answer",
)  # fmt: skip
_PARTS = ("status", "approvals", "hint", "actions")


def handoff_page(request: HttpRequest, model_admin: ModelAdmin[Any], handoff: Handoff) -> TemplateResponse:
    """The page of `handoff`, of a session whose transcript the user may read."""
    session = handoff.agent_session
    name = f"{session.user} with {session.agent}"
    context = _context(request, handoff)
    return console_page(
        request,
        model_admin,
        "console/handoff.html",
        title=name,
        opts=model_admin.model._meta,
        original=NamedRow(handoff, name),
        readable=True,
        **transcript_context(request, session, readable=True) | {"handoff": handoff},
        **context,
        forms=_forms(handoff),
        version=_version(context),
        reply_key=uuid4(),
        note_key=uuid4(),
        seq=session.next_seq - 1,
        live=reverse("admin:agents_handoff_live", args=[handoff.pk]),
    )


def live_handoff(request: HttpRequest, handoff: Handoff) -> HttpResponse:
    """What has changed on the open page: as `live_update` of a session, with `parts` (HTML by name) and their `version`
    unless `?parts` is that version."""
    changes = live_changes(request, handoff.agent_session)
    if isinstance(changes, HttpResponse) and changes.status_code != 204:
        return changes
    context = _context(request, handoff)
    version = _version(context)
    if isinstance(changes, HttpResponse) and request.GET.get("parts") == version:
        return changes
    context |= {"handoff": handoff, "forms": _forms(handoff)}
    parts = {name: render_to_string(f"console/handoff_{name}.html", context, request=request) for name in _PARTS}
    return JsonResponse({**(changes if isinstance(changes, dict) else {}), "parts": parts, "version": version})


def _context(request: HttpRequest, handoff: Handoff) -> dict[str, Any]:
    session, user = handoff.agent_session, request.user
    may_answer = user.has_perm(ANSWER_HANDOFF)
    other = answered_by_another(handoff, user)
    return {
        "session": session,
        "is_open": handoff.state != HandoffState.RESOLVED,
        "is_mine": is_assigned_to(handoff, session, user),
        "is_human": session.controller == AgentSession.Controller.HUMAN,
        "other": operator_name(other) if other else "",
        "may_answer": may_answer,
        "badge": handoff_badge(handoff, session),
        "reason": describe_reason(handoff.requested_by, handoff.reason),
        "waits": waiting_time(handoff),
        "reply": first_reply(handoff),
        "times": [waiting_since(handoff), handoff.first_reply_at, is_late(handoff)],
        "priority": priority_badge(handoff.priority),
        "assignee": operator_name(handoff.assignee) or "nobody",
        "requested": format_moment(handoff.requested_at),
        "work": _describe_work(session),
        "approvals": [_approval_view(one, user) for one in pending_approvals_for(session)],
        "urls": {name: row_url(handoff, name) for name in ("claim", "reply", "return", "resolve", "snooze", "priority",
                                                           "assign", "note")},
    }  # fmt: skip


def _forms(handoff: Handoff) -> dict[str, Any]:
    actions: tuple[HandoffAction, ...] = (REPLY, NOTE, SNOOZE, PRIORITY, ASSIGN)
    return {action.name: action.make_form(None, handoff) for action in actions}


def _approval_view(approval: Approval, user: Any) -> dict[str, Any]:
    rows = argument_rows(approval.arguments)
    arguments = [(name, shorten(value)) for name, value in rows]
    return {
        "row": approval,
        "arguments": arguments,
        # Nobody is to agree to what is not on the page.
        "is_cut": arguments != rows,
        "reasons": call_reasons(approval),
        "for_operators": approval.decider == Decider.OPERATOR,
        "may_decide": approval.decider == Decider.OPERATOR and user.has_perm(DECIDE_APPROVAL),
        "url": row_url(approval, "decide"),
    }


def _describe_work(session: AgentSession) -> str:
    """What the agent does just now in the session, in words; "" if nothing."""
    if not session.open_turns:
        return ""
    turns = Turn.objects.filter(agent_session=session, finished_at__isnull=True).order_by("ordinal")
    if (turn := turns.first()) is None:
        return ""
    queue = f", {session.open_turns - 1} more in the queue" if session.open_turns > 1 else ""
    if turn.status == TurnStatus.WAITING:
        return f"The agent waits for {turn.wait_reason or 'something'}{queue}"
    if turn.status != TurnStatus.RUNNING:
        return f"A question of the user: {str(turn.status).replace('_', ' ')}{queue}"
    step = Step.objects.filter(turn=turn, status=StepStatus.INTENT).order_by("-number").first()
    doing = "thinks" if step is None or step.kind == "model" else f"uses the tool {step.name}"
    return f"The agent {doing}, for {format_duration(turn.started_at, now())}{queue}"


def _version(context: Mapping[str, Any]) -> str:
    """Changes when the parts of the page must be rendered anew. Times on the page go on by themselves."""
    values = [str(context[name]) for name in _FACTS]
    approvals = [f"{one['row'].pk} {one['may_decide']}" for one in context["approvals"]]
    work = context["work"].partition(", for ")[0]
    facts = [*values, *approvals, work]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
