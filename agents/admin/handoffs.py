"""The operators' inbox: the people who wait for a person, and the page on which an operator answers one."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from agents.admin.inbox.descriptions import (
    describe_reason,
    first_reply,
    handoff_badge,
    operator_name,
    priority_badge,
    waiting_time,
)
from agents.admin.inbox.inbox_filters import (
    NEWEST_FIRST,
    HandoffAgentFilter,
    PriorityFilter,
    SessionUserFilter,
    ShowFilter,
    SourceFilter,
    count_waiting,
    inbox_tabs,
    readable_agent_ids,
)
from agents.models import Handoff
from console.formatting import NOTHING, format_moment
from console.keyset_changelist import KeysetAdmin
from console.ordered_changelist import OrderedKeysetChangeList


class InboxChangeList(OrderedKeysetChangeList):
    """What waits: by priority, then by age. What is over: the newest first."""

    @property
    def is_newest_first(self) -> bool:
        view = str(self.params.get("show", ""))
        return view in NEWEST_FIRST or (bool(self.query) and not view)

    @property
    def order_words(self) -> str:  # type: ignore[override]
        return "newest first" if self.is_newest_first else "most urgent and oldest first"


@admin.register(Handoff)
class HandoffAdmin(KeysetAdmin):
    """The inbox. Only those who may read an agent's transcripts see who waits for a person in its place."""

    query_budget = 12

    list_display = ("who", "waits", "display_status", "display_priority", "reply", "why", "display_agent", "requested")
    list_display_links = ("who",)
    list_select_related = ("agent_session__user", "agent_session__agent", "assignee")
    list_filter = (ShowFilter, HandoffAgentFilter, SessionUserFilter, PriorityFilter, SourceFilter)
    list_tabs = inbox_tabs(of_approvals=False)
    list_empty_words = "Nobody waits for a person."
    list_before_template = "console/inbox_head.html"
    search_ids = ("id", "agent_session_id")
    search_words = ("agent_session__user__username",)
    search_help_text = "The id of a session or of a request, or the name of a user."

    def get_changelist(self, request: HttpRequest, **_kwargs: Any) -> type[Any]:  # noqa: ARG002
        return InboxChangeList

    def keyset_order(self, changelist: InboxChangeList) -> tuple[str, ...]:
        """The order of the rows of `changelist`."""
        return ("-requested_at", "-id") if changelist.is_newest_first else ("priority", "requested_at", "id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Handoff]:
        return super().get_queryset(request).filter(agent_session__agent__in=readable_agent_ids(request.user))

    def get_urls(self) -> list[URLPattern]:
        counts = path("counts/", self.admin_site.admin_view(self.counts), name="agents_handoff_counts")
        return [counts, *super().get_urls()]

    def counts(self, request: HttpRequest) -> HttpResponse:
        """What waits, for the number beside the entry of the sidebar."""
        people, calls = count_waiting(request.user)
        return JsonResponse({"count": people + calls, "title": _describe_counts(people, calls)})

    @admin.display(description="who")
    def who(self, handoff: Handoff) -> str:
        return str(handoff.agent_session.user)

    @admin.display(description="waits for")
    def waits(self, handoff: Handoff) -> SafeString | str:
        return waiting_time(handoff)

    @admin.display(description="status")
    def display_status(self, handoff: Handoff) -> SafeString:
        return handoff_badge(handoff, handoff.agent_session)

    @admin.display(description="priority")
    def display_priority(self, handoff: Handoff) -> SafeString:
        return priority_badge(handoff.priority)

    @admin.display(description="first reply")
    def reply(self, handoff: Handoff) -> SafeString | str:
        return first_reply(handoff)

    @admin.display(description="why")
    def why(self, handoff: Handoff) -> SafeString:
        return format_html('<bdi class="bs-words">{}</bdi>', describe_reason(handoff.requested_by, handoff.reason))

    @admin.display(description="agent")
    def display_agent(self, handoff: Handoff) -> str:
        return str(handoff.agent_session.agent)

    @admin.display(description="assignee")
    def display_assignee(self, handoff: Handoff) -> str:
        return operator_name(handoff.assignee) or NOTHING

    @admin.display(description="asked (UTC)")
    def requested(self, handoff: Handoff) -> SafeString | str:
        return format_moment(handoff.requested_at)


def _describe_counts(people: int, calls: int) -> str:
    people_text = f"{people:,} {'person waits' if people == 1 else 'people wait'}"
    return f"{people_text}, {calls:,} {'approval is' if calls == 1 else 'approvals are'} open"
