"""Console pages of the audit trail."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from accounts.audit import audit_size, audit_targets
from accounts.models import AuditEntry
from console.admin import ReadOnlyAdmin
from console.date_filters import AgeFilter, SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter
from console.templatetags.console import action_label


class TargetFilter(ChoiceFilter):
    """By the kind of row that an action changed: a short list that needs no query."""

    title, parameter_name, column = "object", "target", "target_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        targets = sorted(audit_targets().values(), key=lambda target: target.label.lower())
        return [(target.model_name, target.label) for target in targets]


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_after_template = "console/audit_size.html"
    list_display = ("at", "actor", "action_label", "target")
    list_filter = (TargetFilter, AgeFilter, SinceFilter, UntilFilter)
    list_filter_submit = True
    search_ids = ("id",)
    search_words = ("actor", "action", "target_id")
    search_help_text = "Who did it, what was done (release.published), or the id of the object."
    fields = ("at", "actor", "user", "action", "target_type", "target_name", "target_id", "detail")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"audit_size": _describe_size(), **(extra_context or {})})

    @admin.display(description="what")
    def action_label(self, entry: AuditEntry) -> str:
        return action_label(entry.action)

    @admin.display(description="to what")
    def target(self, entry: AuditEntry) -> str:
        """The target's name, as a link where its kind of row has a page in the console."""
        name = entry.target_name or entry.target_id
        target = audit_targets().get(entry.target_type)
        if target is None or target.page is None:
            return name
        return format_html('<a href="{}">{}</a>', reverse(target.page, args=[entry.target_id]), name)


def _describe_size() -> str:
    size, days = audit_size(), settings.BANDSTAND.audit_days
    if size.oldest is None:
        return "There are no entries yet."
    retention = f"Entries are kept for {days:,} days" if days else "Entries are kept for ever"
    return (
        f"{size.entries:,} entries since {size.oldest:%Y-%m-%d}, {filesizeformat(size.size)} in the database. "
        f"{retention} (BANDSTAND_AUDIT_DAYS)."
    )
