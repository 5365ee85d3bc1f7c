"""Console pages of the audit trail."""

from __future__ import annotations

import json
import re
from operator import attrgetter
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.admin.list_exports import ExportableAdmin
from accounts.audit import audit_size, audit_targets, search_condition
from accounts.models import AuditEntry
from console.admin import LONGEST_SEARCH
from console.date_filters import AgeFilter, SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter
from console.formatting import NOTHING
from console.list_export import ExportColumn
from console.templatetags.console import action_label
from console.views import NamedRow

# In the name of a detail: what the row is to the entry.
_ROLE_OF_ROW: Final = re.compile(r"^(new|after|merged)_")


class TargetFilter(ChoiceFilter):
    """By the kind of row that an action changed: a short list that needs no query."""

    title, parameter_name, column = "object", "target", "target_type"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        targets = sorted(audit_targets().values(), key=lambda target: target.label.lower())
        return [(target.model_name, target.label) for target in targets]


@admin.register(AuditEntry)
class AuditEntryAdmin(ExportableAdmin):
    query_budget = 8

    list_after_template = "console/audit_size.html"
    list_display = ("at", "actor", "action_label", "target")
    list_filter = (TargetFilter, AgeFilter, SinceFilter, UntilFilter)
    list_filter_submit = True
    search_help_text = "Words, or how they begin: who did it, what was done, the name or id of the object, a detail."
    export_columns = tuple(
        ExportColumn(name, attrgetter(name))
        for name in ("id", "at", "actor", "action", "target_type", "target_id", "target_name", "detail")
    )
    fields = ("at", "actor", "user", "action_label", "target", "display_detail", "action", "target_type", "target_id")

    def get_search_results(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[AuditEntry],
        search_term: str,
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """By words of the whole entry, or by its id."""
        term = search_term.strip()
        if not term:
            return queryset, False
        condition = None if len(term) > LONGEST_SEARCH else search_condition(term)
        return (queryset.none() if condition is None else queryset.filter(condition)), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Titled by what was done: "Release published: Demo #2"."""
        entry = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if entry is not None:
            heading = describe_entry(entry)
            context = {"title": heading, "subtitle": None, "original": NamedRow(entry, heading)}
        return super().change_view(request, object_id, form_url, {**context, **(extra_context or {})})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return super().changelist_view(request, {"audit_size": _describe_size(), **(extra_context or {})})

    @admin.display(description="what")
    def action_label(self, entry: AuditEntry) -> str:
        return action_label(entry.action)

    @admin.display(description="to what")
    def target(self, entry: AuditEntry) -> str:
        """What it is, as a link where its kind of row has a page in the console."""
        return audit_link(entry.target_type, entry.target_id, entry.target_name)

    @admin.display(description="details")
    def display_detail(self, entry: AuditEntry) -> SafeString | str:
        """A line for each detail; the ids of rows that have a page are links."""
        lines = ((name.replace("_", " "), _detail_value(name, value)) for name, value in sorted(entry.detail.items()))
        return format_html_join("", "<div>{}: {}</div>", lines) or NOTHING


def audit_link(target_type: str, target_id: str, name: str = "") -> SafeString | str:
    """A row that an entry is about, in words: "turn 01a2…"; a link where such rows have a page in the console."""
    target = audit_targets().get(target_type)
    label = f"{target.label if target else target_type} {name or target_id}"
    address = target.row_address(target_id) if target else None
    return label if address is None else format_html('<a class="bs-link" href="{}">{}</a>', address, label)


def describe_entry(entry: AuditEntry) -> str:
    """The entry as a heading: "Release published: Demo #2"; a row without a name by its kind and id."""
    target = audit_targets().get(entry.target_type)
    row = entry.target_name or f"{target.label if target else entry.target_type} {entry.target_id}"
    return f"{action_label(entry.action)}: {row}"


def _detail_value(name: str, value: Any) -> SafeString | str:
    """`value`; a link if `name` says that it is the id of a row: `new_turn`, `after_turn`, `api_key`. Of a list each of
    its ids is a link: `merged_memory`."""
    if isinstance(value, list) and value:
        return format_html_join(", ", "{}", ((_detail_value(name, item),) for item in value))
    label = _ROLE_OF_ROW.sub("", name).replace("_", " ")
    kinds = [target for target in audit_targets().values() if target.page and target.label.lower() == label]
    if kinds and isinstance(value, str) and _parse_uuid(value) is not None:
        return audit_link(kinds[0].model_name, value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _parse_uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def _describe_size() -> str:
    size, days = audit_size(), settings.BANDSTAND.audit_days
    if size.oldest is None:
        return "There are no entries yet."
    retention = f"Entries are kept for {days:,} days" if days else "Entries are kept for ever"
    entries = "1 entry" if size.entries == 1 else f"{size.entries:,} entries"
    return (
        f"{entries} since {size.oldest:%Y-%m-%d}, {filesizeformat(size.size)} in the database. "
        f"{retention} (BANDSTAND_AUDIT_DAYS)."
    )
