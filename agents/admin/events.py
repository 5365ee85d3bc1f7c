"""The log of events."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, F, Func, QuerySet
from django.http import HttpRequest

from agents.admin.list_filters import EventTypeFilter
from agents.admin.transcript.content import MAX_TEXT_CHARACTERS
from agents.admin.transcript.steps import shorten
from agents.models import Event
from agents.permissions.transcripts import can_read_transcript
from agents.permissions.trials import visible_purposes
from console.date_filters import age_filter
from console.keyset_changelist import KeysetAdmin, parse_uuid


@admin.register(Event)
class EventAdmin(KeysetAdmin):
    """Events of all sessions, read-only."""

    query_budget = 11

    list_display = ("id", "agent_session_id", "seq", "type", "turn_id", "epoch", "at")
    list_filter = (EventTypeFilter, age_filter("at"))
    search_ids = ("agent_session_id",)
    looks_back = 100_000
    search_help_text = "The id of a session. Filters look at the newest 100,000 events."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        rows: QuerySet[Event] = super().get_queryset(request)
        return rows.filter(visible_purposes(request.user))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Event], search_term: str
    ) -> tuple[QuerySet[Event], bool]:
        if (session := parse_uuid(search_term)) is None:
            return super().get_search_results(request, queryset, search_term)
        # As an array, which is read first: the planner would walk through the events of all sessions in their order to
        # find those of a long one.
        events = ArraySubquery(Event.objects.filter(agent_session_id=session).order_by().values("pk"))
        among = Func(F("pk"), events, template="%(expressions)s)", arg_joiner=" = ANY(", output_field=BooleanField())
        return queryset.filter(among), False

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Without the data for users who may not read the transcript: it contains the messages."""
        readable = obj is not None and can_read_transcript(request.user, obj.agent_session.agent)
        names = [field.name for field in Event._meta.fields]
        return [name if name != "data" else "display_data" for name in names if name != "data" or readable]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [*super().get_readonly_fields(request, obj), "display_data"]

    @admin.display(description="data")
    def display_data(self, event: Event) -> str:
        """The data as JSON, shortened: a client's message may have some megabytes."""
        return shorten(json.dumps(event.data, indent=2, ensure_ascii=False), MAX_TEXT_CHARACTERS)
