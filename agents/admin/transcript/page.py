"""The transcript page of a session or a turn, updated live.

The open page asks each second what has changed after seq n. The answer comes from the event log, checks the reader's
permissions each time, and costs one small query while nothing happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from django.contrib.admin import ModelAdmin
from django.db import models
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import reverse

from agents.admin.transcript.marks import HANDOFF_EVENTS, TranscriptMark, handoff_marks, note_marks
from agents.admin.transcript.turns import RELEASES, TURNS, TranscriptTurn, turn_views
from agents.admin.turn_actions import TURN_ACTIONS
from agents.admin.turn_numbers import turn_numbers
from agents.domain.events import EventType
from agents.models import COST_UNKNOWN, TOKENS_UNKNOWN, AgentSession, Event, Handoff, Message, Turn, UtilityCall
from agents.permissions.role_permissions import ANSWER_HANDOFF, FORK_SESSION, VIEW_NOTE
from agents.permissions.trials import can_read_session
from agents.sessions.approvals import pending_approvals_for
from console.formatting import format_money, format_tokens
from console.keyset_changelist import parse_uuid
from console.views import NamedRow, console_page
from foundation.clock import now
from foundation.page_size import count_fitting

# A page that is further behind is told to reload.
MAX_EVENTS_BEHIND: Final = 500
MAX_EVENTS: Final = 40
# The messages of clients beside the turns, which may have some megabytes.
MAX_UNATTACHED_BYTES: Final = 512 * 1024
MESSAGE_EVENTS: Final = frozenset({EventType.MESSAGE_CREATED, EventType.MESSAGE_COMPLETED})
Block = TranscriptTurn | TranscriptMark
# Columns that the page does not list.
_HIDDEN: Final = frozenset({"fingerprint", "prompt_hash", "state", "metadata", "client_options", "title"})


def session_page(request: HttpRequest, model_admin: ModelAdmin[Any], session: AgentSession) -> TemplateResponse:
    """The page with the newest turns of a session, or those before `?before=ordinal`, or those up to `?turn=id`."""
    readable = can_read_session(request.user, session)
    return console_page(
        request,
        model_admin,
        "console/transcript.html",
        title=(name := _name(session, readable=readable)),
        opts=model_admin.model._meta,
        original=NamedRow(session, name),
        session=session,
        readable=readable,
        **transcript_context(request, session, readable=readable),
        facts=_session_facts(session),
        fields=_fields(session),
        events=_events(session),
        seq=session.next_seq - 1,
        live=reverse("admin:agents_agentsession_live", args=[session.pk]),
        session_actions=_session_actions(request, model_admin, session),
        can_fork=readable and request.user.has_perm(FORK_SESSION),
        open_approvals=pending_approvals_for(session) if readable and session.open_turns else (),
        can_take_over=readable and request.user.has_perm(ANSWER_HANDOFF),
    )


def transcript_context(request: HttpRequest, session: AgentSession, *, readable: bool) -> dict[str, Any]:
    """What the transcript of a session is rendered with: its newest turns, or those that the query string asks for,
    with what operators did and noted between them."""
    turns, older, newer = _turns(request, session)
    blocks: list[Block] = list(_turn_views(request, session, turns, readable=readable, with_unattached=True))
    handoffs = list(
        Handoff.objects.filter(agent_session=session).select_related("assignee").order_by("-requested_at")[:1]
    )
    notes = note_marks(session) if readable and request.user.has_perm(VIEW_NOTE) else []
    marks = [*(handoff_marks(session, readable=readable) if handoffs else ()), *notes]
    # Those of other pages of a long session are there.
    first = turns[0].ordinal if turns and older else 0
    last = turns[-1].ordinal + 2 if turns and newer else float("inf")
    blocks += [mark for mark in marks if first <= mark.ordinal < last]
    return {
        "blocks": sorted(blocks, key=lambda block: block.ordinal),
        "older": older,
        "newer": newer,
        # Only a page that shows the newest turn appends the next one.
        "follows": newer is None,
        "handoff": next((one for one in handoffs if one.state != Handoff.State.RESOLVED), None),
        "last_note": notes[-1].key.removeprefix("note-") if notes else "",
    }


def turn_page(request: HttpRequest, model_admin: ModelAdmin[Any], turn: Turn) -> TemplateResponse:
    """The page of one turn, with its columns."""
    session = AgentSession.objects.select_related("agent", "release", "user").get(pk=turn.agent_session_id)
    readable = can_read_session(request.user, session)
    name = f"Turn {turn_numbers([turn])[turn.pk]} of {_name(session, readable=readable)}"
    return console_page(
        request,
        model_admin,
        "console/transcript.html",
        title=name,
        opts=model_admin.model._meta,
        original=NamedRow(turn, name),
        session=session,
        readable=readable,
        blocks=_turn_views(request, session, [turn], readable=readable),
        follows=False,
        one_turn=turn,
        facts=_session_facts(session),
        fields=_fields(turn),
        events=_events(session, turn),
        seq=session.next_seq - 1,
        live=reverse("admin:agents_agentsession_live", args=[session.pk]) + f"?turn={turn.pk}",
    )


def _name(session: AgentSession, *, readable: bool) -> str:
    """The title, or the id where the title may not be read: it comes from the first message."""
    return (session.title if readable else "") or f"session {session.pk}"


def live_update(request: HttpRequest, session: AgentSession) -> HttpResponseBase:
    """What has changed after seq `?after`: `{"seq", "facts", "blocks": [{"key", "ordinal", "html"}], "events": html}`.

    204: nothing has. 409: too much has; load the page again. `?turn` asks for that turn only, `?note` for the notes
    after that one.
    """
    changes = live_changes(request, session)
    return changes if isinstance(changes, HttpResponse) else JsonResponse(changes)


def live_changes(request: HttpRequest, session: AgentSession) -> dict[str, Any] | HttpResponse:
    """The JSON of `live_update`, or its response without one."""
    after = request.GET.get("after", "")
    if not (after.isascii() and after.isdigit() and len(after) < 19):
        return HttpResponse(status=422)
    seq = session.next_seq - 1
    changed = Event.objects.filter(agent_session=session, seq__gt=int(after)).order_by("seq")
    rows = list(changed.values_list("turn_id", "type")[: MAX_EVENTS_BEHIND + 1])
    types = {event_type for _, event_type in rows}
    if len(rows) > MAX_EVENTS_BEHIND or int(after) > seq:
        return HttpResponse(status=409)
    touched = {turn for turn in (*(turn for turn, _ in rows), session.active_turn_id) if turn is not None}
    if EventType.MESSAGE_RATED in types:
        touched |= _rated_turns(changed)
    if (only := parse_uuid(request.GET.get("turn", ""))) is not None:
        touched &= {only}
    notes = [] if only else _new_notes(request, session)
    if not touched and not rows and not notes:
        return HttpResponse(status=204)
    readable = can_read_session(request.user, session)
    notes = notes if readable else []
    rows_touched = Turn.objects.filter(agent_session=session, pk__in=touched).annotate(**RELEASES)
    turns = list(rows_touched.order_by("-ordinal")[:TURNS])[::-1]
    # Words of people, to which no agent answers, are of no turn.
    unattached = changed.filter(turn=None, type__in=MESSAGE_EVENTS) if types & MESSAGE_EVENTS and not only else None
    blocks: list[Block] = list(_turn_views(request, session, turns, readable=readable, unattached=unattached))
    blocks += (
        handoff_marks(session, readable=readable, after_seq=int(after)) if types & HANDOFF_EVENTS and not only else ()
    )
    blocks += notes
    return {
        "seq": seq,
        "facts": dict(_session_facts(session)),
        "blocks": [{"key": block.key, "ordinal": block.ordinal, "html": _html(request, block)} for block in blocks],
        "note": notes[-1].key.removeprefix("note-") if notes else None,
        "events": render_to_string("console/transcript_events.html", {"events": _events(session)}),
    }


def _new_notes(request: HttpRequest, session: AgentSession) -> list[TranscriptMark]:
    """The notes that the open page has not; none for those who see none."""
    after = request.GET.get("note")
    if after is None or not request.user.has_perm(VIEW_NOTE):
        return []
    return note_marks(session, after=parse_uuid(after))


def _rated_turns(events: QuerySet[Event]) -> set[UUID]:
    """The turns whose answers were rated: those events are of no turn."""
    rated = events.filter(type=EventType.MESSAGE_RATED).values_list("data__message", flat=True)
    turns = Message.objects.filter(pk__in=list(rated), turn__isnull=False).values_list("turn_id", flat=True)
    return {turn for turn in turns if turn is not None}


def _turns(request: HttpRequest, session: AgentSession) -> tuple[list[Turn], str | None, str | None]:
    """The turns to show, oldest first, and the addresses of the page before and of the newest."""
    turns = Turn.objects.filter(agent_session=session).select_related("release").annotate(**RELEASES)
    before_ordinal = request.GET.get("before", "")
    if before_ordinal.isascii() and before_ordinal.isdigit() and len(before_ordinal) < 10:
        turns = turns.filter(ordinal__lt=int(before_ordinal))
    elif (turn_id := parse_uuid(request.GET.get("turn", ""))) is not None:
        ordinal = Turn.objects.filter(agent_session=session, pk=turn_id).values_list("ordinal", flat=True).first()
        turns = turns.filter(ordinal__lte=ordinal) if ordinal is not None else turns
    rows = list(turns.order_by("-ordinal")[: TURNS + 1])
    page = rows[:TURNS][::-1]
    older = f"?before={page[0].ordinal}" if len(rows) > TURNS else None
    last = page[-1].ordinal if page else 0
    newest = not Turn.objects.filter(agent_session=session, ordinal__gt=last).exists()
    return page, older, None if newest else "?"


def _turn_views(
    request: HttpRequest,
    session: AgentSession,
    turns: Sequence[Turn],
    *,
    readable: bool,
    with_unattached: bool = False,
    unattached: QuerySet[Event] | None = None,
) -> list[TranscriptTurn]:
    """`with_unattached`: with the newest messages of no turn; `unattached`: with those of these events."""
    messages = None
    if with_unattached:
        messages = Message.objects.filter(ordinal__gte=turns[0].ordinal if turns else 0)
    elif unattached is not None:
        ids = unattached.values_list("data__message__id", flat=True)
        messages = Message.objects.filter(pk__in=[key for key in ids if key])
    unattached_messages: Sequence[Message] = ()
    if messages is not None:
        messages = messages.filter(agent_session=session, turn__isnull=True).order_by("-ordinal")
        sizes = messages.values_list("size_bytes", flat=True)[: 5 * TURNS]
        unattached_messages = list(messages[: count_fitting(sizes, MAX_UNATTACHED_BYTES)])
    blocks = turn_views(session, turns, readable=readable, now=now(), unattached=unattached_messages)
    permitted = [action for action in TURN_ACTIONS if request.user.has_perm(action.permission)]
    can_fork = readable and request.user.has_perm(FORK_SESSION)
    for block in blocks:
        if (turn := block.turn) is not None:
            block.can_fork = can_fork and turn.finished_at is not None
            block.actions = [action for action in permitted if action.is_offered(turn)]
    return blocks


def _html(request: HttpRequest, block: Block) -> str:
    turn = block.turn if isinstance(block, TranscriptTurn) else None
    back = reverse("admin:agents_agentsession_change", args=[turn.agent_session_id]) if turn else ""
    return render_to_string("console/transcript_block.html", {"block": block, "back": back}, request=request)


def _session_facts(session: AgentSession) -> list[tuple[str, str]]:
    total = Turn.objects.filter(agent_session=session).aggregate(
        turns=Count("pk"),
        cost=Sum("cost_usd"),
        into=Sum("input_tokens"),
        out=Sum("output_tokens"),
        no_cost=Count("pk", filter=COST_UNKNOWN),
        no_tokens=Count("pk", filter=TOKENS_UNKNOWN),
    )
    return [
        *([("Purpose", session.get_purpose_display())] if session.purpose else []),
        ("User", str(session.user)),
        ("Agent", f"{session.agent} #{session.release.number}"),
        ("Turns", f"{total['turns']:,}, {session.open_turns} open"),
        ("Tokens", format_tokens(total["into"], total["out"], at_least=bool(total["no_tokens"]))),
        ("Cost", format_money(total["cost"], at_least=bool(total["no_cost"]))),
        *_side_work(session),
    ]


def _side_work(session: AgentSession) -> list[tuple[str, str]]:
    """What titles and summaries of a session have cost, which is no part of its turns; nothing if there were none."""
    calls = UtilityCall.objects.filter(agent_session=session)
    total = calls.aggregate(calls=Count("pk"), cost=Sum("cost_usd"), no_cost=Count("pk", filter=Q(cost_usd=None)))
    if not total["calls"]:
        return []
    cost = format_money(total["cost"], at_least=bool(total["no_cost"]))
    return [("Side work", f"{total['calls']:,} calls, {cost}")]


def _events(session: AgentSession, turn: Turn | None = None) -> list[Event]:
    """The newest events, newest first, without their `data`."""
    events = Event.objects.filter(agent_session=session).order_by("-seq").defer("data")
    if turn is None:
        return list(events[:MAX_EVENTS])
    # The index covers the session, so only the newest events of a long session are searched.
    return [event for event in events[: 10 * MAX_EVENTS] if event.turn_id == turn.pk][:MAX_EVENTS]


def _fields(row: models.Model) -> list[tuple[str, Any]]:
    return [
        (str(column.verbose_name), getattr(row, column.attname))
        for column in row._meta.concrete_fields
        if column.name not in _HIDDEN
    ]


def _session_actions(
    request: HttpRequest, model_admin: ModelAdmin[Any], session: AgentSession
) -> list[tuple[str, str]]:
    """The buttons of the session as (admin action, label)."""
    if session.open_turns == 0 or "cancel_open" not in model_admin.get_actions(request):
        return []
    return [("cancel_open", "Cancel all open turns")]
