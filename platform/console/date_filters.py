"""List filters by age, which need no query to display and use an index."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from foundation.clock import now
from foundation.ids import lowest_id

_AGES = {
    "hour": ("Past hour", timedelta(hours=1)),
    "day": ("Past day", timedelta(days=1)),
    "week": ("Past week", timedelta(days=7)),
    "month": ("Past 30 days", timedelta(days=30)),
}


class AgeFilter(admin.SimpleListFilter):
    """Filters rows created in the past hour, day, …, by their UUIDv7 primary key."""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, title) for name, (title, _) in _AGES.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:  # noqa: ARG002
        age = _AGES.get(self.value() or "")
        return queryset.filter(**self.since(now() - age[1])) if age else queryset

    def since(self, timestamp: datetime) -> dict[str, Any]:
        return {"id__gte": lowest_id(timestamp)}


def age_filter(field: str) -> type[AgeFilter]:
    """A filter for rows that were made in the past hour, day, … by a field of time: for those whose ids do not tell."""

    class ByField(AgeFilter):
        def since(self, timestamp: datetime) -> dict[str, Any]:
            return {f"{field}__gte": timestamp}

    return ByField
