"""Turns and their steps."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from agents.admin.filters import AgeFilter, age_by
from agents.admin.readonly import ReadOnlyAdmin
from agents.admin.transcripts import may_read
from agents.models import Step, Turn


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_display = (
        "id",
        "agent",
        "user",
        "status",
        "priority",
        "error_class",
        "epoch",
        "queued_at",
        "started_at",
        "finished_at",
    )
    list_select_related = ("user", "agent_session__agent")
    list_filter = ("status", "agent_session__agent", "priority", AgeFilter)
    search_ids = ("id", "agent_session_id", "error_id")
    search_help_text = "The id of a turn, a session or an error."

    @admin.display(description="agent")
    def agent(self, turn: Turn) -> str:
        return str(turn.agent_session.agent)


@admin.register(Step)
class StepAdmin(ReadOnlyAdmin):
    query_budget = 7

    list_display = ("id", "turn_id", "number", "kind", "name", "status", "error_class", "started_at", "finished_at")
    list_filter = ("kind", "status", age_by("started_at"))
    search_ids = ("turn_id",)
    search_help_text = "The id of a turn."

    def get_fields(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """What was said to and by tools is part of the transcript."""
        hidden = {"request", "result"} if obj is None or not may_read(request.user, _agent(obj)) else set()
        return [field.name for field in Step._meta.fields if field.name not in hidden]


def _agent(step: Step) -> Any:
    return step.turn.agent_session.agent
