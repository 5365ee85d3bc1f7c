"""The audit trail: who did what to what."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from agents.access.audit import extent
from agents.admin.filters import AgeFilter
from agents.admin.readonly import ReadOnlyAdmin
from agents.models import AuditEntry
from agents.templatetags.console import act

# The pages of what is acted on. A draft has its agent's id and page.
_PAGES = {
    "agent": "admin:agents_agent_change",
    "agentdraft": "admin:agents_agent_edit_draft",
    "agentsession": "admin:agents_agentsession_change",
    "apikey": "admin:agents_apikey_change",
    "bulkact": "admin:agents_bulkact_change",
    "group": "admin:auth_group_change",
    "release": "admin:agents_release_change",
    "schedule": "admin:monitoring_schedule_change",
    "turn": "admin:agents_turn_change",
    "user": "admin:agents_user_change",
}


class ActionFilter(admin.SimpleListFilter):
    """By the noun that was acted on: a closed list, which grows more slowly than the verbs."""

    title = "what it was done to"
    parameter_name = "target"
    nouns = (
        "agent", "agentdraft", "release", "agentsession", "turn",
        "apikey", "user", "group", "schedule", "bulkact", "bucket",
    )  # fmt: skip
    _words = {
        "agentsession": "session", "apikey": "API key", "agentdraft": "draft",
        "bulkact": "bulk act", "bucket": "address",
    }  # fmt: skip

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(noun, self._words.get(noun, noun)) for noun in self.nouns]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:  # noqa: ARG002
        return queryset.filter(target_type=self.value()) if self.value() else queryset


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_after_template = "agents/admin/audit_extent.html"
    list_display = ("at", "actor", "act", "target")
    list_filter = (ActionFilter, AgeFilter)
    search_ids = ("id",)
    search_words = ("actor", "action", "target_id")
    search_help_text = "Who did it, what was done (release.published), or the id of what it was done to."
    fields = ("at", "actor", "user", "action", "target_type", "target_name", "target_id", "detail")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"extent": _extent_in_words(), **(extra_context or {})})

    @admin.display(description="what")
    def act(self, entry: AuditEntry) -> str:
        return act(entry.action)

    @admin.display(description="to what")
    def target(self, entry: AuditEntry) -> str:
        """Its name, as a link where it has a page of its own."""
        name = entry.target_name or entry.target_id
        if entry.target_type not in _PAGES:
            return name
        return format_html('<a href="{}">{}</a>', reverse(_PAGES[entry.target_type], args=[entry.target_id]), name)


def _extent_in_words() -> str:
    trail, days = extent(), settings.BANDSTAND.audit_days
    if trail.oldest is None:
        return "There are no entries yet."
    kept = f"Entries are kept for {days:,} days" if days else "Entries are kept for ever"
    return (
        f"{trail.entries:,} entries since {trail.oldest:%Y-%m-%d}, {filesizeformat(trail.size)} in the database. "
        f"{kept} (BANDSTAND_AUDIT_DAYS)."
    )
