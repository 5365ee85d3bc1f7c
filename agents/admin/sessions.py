"""Sessions: the list, and one page with all that happened in one."""

from __future__ import annotations

from collections import defaultdict
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.http import HttpRequest, HttpResponse

from agents.admin.filters import AgeFilter
from agents.admin.readonly import ReadOnlyAdmin
from agents.admin.transcripts import may_read
from agents.models import AgentSession, Event, Message, Step, Turn

# The page shows the newest of each; the lists hold the rest.
MESSAGES, TURNS, EVENTS = 200, 100, 100


@admin.register(AgentSession)
class AgentSessionAdmin(ReadOnlyAdmin):
    query_budget = 8
    # The page of one session.
    page_query_budget = 13

    list_display = ("id", "title", "user", "agent", "release_number", "controller", "open_turns", "created_at")
    list_select_related = ("user", "agent", "release")
    list_filter = ("agent", "controller", AgeFilter)
    search_words = ("user__username",)
    search_help_text = "The id of a session, or the name of a user."
    fields = (
        "id",
        "user",
        "agent",
        "release",
        "title",
        "metadata",
        "controller",
        "state_fault",
        "version",
        "open_turns",
        "active_turn_id",
        "active_epoch",
        "next_seq",
        "created_at",
        "updated_at",
    )
    change_form_template = "agents/admin/session.html"

    @admin.display(description="release")
    def release_number(self, session: AgentSession) -> int:
        return session.release.number

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        session = self.get_object(request, object_id)
        shown: dict[str, Any] = {}
        if session is not None and self.has_view_permission(request, session):
            shown = _page(session, readable=may_read(request.user, session.agent))
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})


def _page(session: AgentSession, *, readable: bool) -> dict[str, Any]:
    turns = list(Turn.objects.filter(agent_session=session).order_by("-ordinal")[:TURNS])[::-1]
    steps: dict[UUID, list[Step]] = defaultdict(list)
    for step in Step.objects.filter(turn__in=turns).order_by("turn", "number"):
        steps[step.turn_id].append(step)
    messages = Message.objects.filter(agent_session=session).order_by("-ordinal")[:MESSAGES] if readable else []
    return {
        "readable": readable,
        "transcript": list(messages)[::-1],
        "turns": [(turn, steps[turn.pk]) for turn in turns],
        "events": list(Event.objects.filter(agent_session=session).order_by("-seq")[:EVENTS])[::-1],
        "limits": {"messages": MESSAGES, "turns": TURNS, "events": EVENTS},
    }
