"""The audit trail: who did what to what."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from agents.admin.filters import AgeFilter
from agents.admin.readonly import ReadOnlyAdmin
from agents.models import AuditEntry


class ActionFilter(admin.SimpleListFilter):
    """By the noun that was acted on: a closed list, which grows more slowly than the verbs."""

    title = "what it was done to"
    parameter_name = "target"
    nouns = ("agent", "agentdraft", "release", "agentsession", "turn", "apikey", "user", "group", "schedule")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [
            (noun, {"agentsession": "session", "apikey": "API key", "agentdraft": "draft"}.get(noun, noun))
            for noun in self.nouns
        ]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002
        return queryset.filter(target_type=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    query_budget = 7

    list_display = ("at", "actor", "action", "target_type", "target_name", "target_id")
    list_filter = (ActionFilter, AgeFilter)
    search_ids = ("id",)
    search_words = ("actor", "action", "target_id")
    search_help_text = "Who did it, what was done (agent.published), or the id of what it was done to."
    fields = ("at", "actor", "user", "action", "target_type", "target_name", "target_id", "detail")
