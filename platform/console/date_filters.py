"""List filters by time, which need no query to display and use an index."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django import forms
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q
from django.http import HttpRequest

from console.field_filters import FieldFilter, require_choice
from foundation.clock import now
from foundation.ids import lowest_id

if TYPE_CHECKING:
    from django.forms import TextInput
else:
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput

_AGES: Final = {
    "hour": ("Past hour", timedelta(hours=1)),
    "day": ("Past day", timedelta(days=1)),
    "week": ("Past week", timedelta(days=7)),
    "month": ("Past 30 days", timedelta(days=30)),
}
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MINUTE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d", re.ASCII)


def format_filter_time(at: datetime) -> str:
    """`at` as the value of `since` and `until`: "2026-01-31T08:15", in UTC, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M")


class _TimeFilter(FieldFilter):
    """A filter by the time at which rows were made: by a `column` of time, or by the UUIDv7 of the primary key."""

    column: ClassVar[str] = ""

    def condition_since(self, timestamp: datetime) -> Q:
        return Q(**{f"{self.column}__gte": timestamp}) if self.column else Q(pk__gte=lowest_id(timestamp))

    def condition_before(self, timestamp: datetime) -> Q:
        return Q(**{f"{self.column}__lt": timestamp}) if self.column else Q(pk__lt=lowest_id(timestamp))


class AgeFilter(_TimeFilter):
    """Filters rows made in the past hour, day, …"""

    title = "age"
    parameter_name = "age"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(name, title) for name, (title, _) in _AGES.items()]

    def matching(self, value: str) -> Q:
        _, age = _AGES[require_choice(value, list(_AGES))]
        return self.condition_since(now() - age)


def age_filter(field: str) -> type[AgeFilter]:
    """An `AgeFilter` by a field of time: for rows whose ids do not tell when they were made."""

    class ByField(AgeFilter):
        column = field

    return ByField


class _MomentFilter(_TimeFilter):
    """By a day ("2026-01-31") or a minute ("2026-01-31T08:15") in UTC."""

    def field(self) -> forms.Field:
        return forms.CharField(required=False, widget=TextInput(attrs={"type": "datetime-local"}))

    def field_value(self) -> str:
        """To the minute, also for a day: the browser's field takes nothing else."""
        value = self.selected()
        return format_filter_time(self.parse(value)) if value else ""

    def value_label(self) -> str:
        return f"{self.selected().replace('T', ' ')} UTC"

    def parse(self, value: str) -> datetime:
        """The moment that `value` stands for. Raises `IncorrectLookupParameters`."""
        day, minute = _DAY.fullmatch(value), _MINUTE.fullmatch(value)
        try:
            if not (day or minute):
                raise ValueError(value)
            moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
            moment = self.from_day(moment) if day else moment
            lowest_id(moment)  # it has to fit an id
        except (ValueError, OverflowError) as error:
            raise IncorrectLookupParameters(value) from error
        return moment

    def from_day(self, midnight: datetime) -> datetime:
        """The moment that a day stands for, by its first moment."""
        return midnight


class SinceFilter(_MomentFilter):
    """From this minute, or from the start of this day."""

    title = "from (UTC)"
    parameter_name = "since"

    def matching(self, value: str) -> Q:
        return self.condition_since(self.parse(value))


class UntilFilter(_MomentFilter):
    """Up to this minute, which is no longer in it, or up to the end of this day."""

    title = "until (UTC)"
    parameter_name = "until"

    def from_day(self, midnight: datetime) -> datetime:
        return midnight + timedelta(days=1)

    def matching(self, value: str) -> Q:
        return self.condition_before(self.parse(value))
