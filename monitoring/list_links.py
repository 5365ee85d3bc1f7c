"""Addresses of the console's lists with exactly the condition of a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.urls import reverse
from django.utils.http import urlencode

from console.date_filters import format_filter_time


@dataclass(frozen=True, slots=True)
class TurnLinks:
    """The list of turns that ended between two whole minutes; `filters` are further filters, such as an agent."""

    since: datetime
    until: datetime
    filters: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> str:
        return self._list()

    def completed(self) -> str:
        return self._list(state="completed")

    def failed(self) -> str:
        return self._list(state="unanswered")

    def error_class(self, name: str) -> str:
        return self._list(error=name)

    def others(self) -> str:
        return self._list(state="stopped")

    def ratings(self, value: str = "") -> str:
        """Not those of these turns, but those made in this time; `value` is "up" or "down"."""
        return ratings_link(self.since, self.until, {**self.filters, **({"value": value} if value else {})})

    def _list(self, **query: str) -> str:
        bounds = {"ended_since": format_filter_time(self.since), "ended_until": format_filter_time(self.until)}
        return f"{reverse('admin:agents_turn_changelist')}?{urlencode({**self.filters, **query, **bounds})}"


def ratings_link(since: datetime, until: datetime, filters: Mapping[str, str] | None = None) -> str:
    """The address of the list of ratings of turns that were made between two whole minutes; `filters` as in
    `TurnLinks`."""
    bounds = {"of": "turns", "since": format_filter_time(since), "until": format_filter_time(until)}
    return f"{reverse('admin:agents_feedback_changelist')}?{urlencode({**(filters or {}), **bounds})}"
