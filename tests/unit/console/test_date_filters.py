"""What the filters by time take, and the moments that they stand for."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q
from django.test import RequestFactory

from accounts.models import AuditEntry
from console.date_filters import AgeFilter, SinceFilter, UntilFilter, age_filter, format_filter_time
from foundation.ids import lowest_id


def filter_with(kind: Any, value: str) -> Any:
    return kind(RequestFactory().get("/"), {kind.parameter_name: [value]}, AuditEntry, None)


def at(*parts: int) -> Any:
    return lowest_id(datetime(*parts, tzinfo=UTC))  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("kind", "value", "condition", "in_form"),
    [
        (SinceFilter, "2026-01-31", Q(pk__gte=at(2026, 1, 31)), "2026-01-31T00:00"),
        (SinceFilter, "2026-01-31T08:15", Q(pk__gte=at(2026, 1, 31, 8, 15)), "2026-01-31T08:15"),
        (UntilFilter, "2026-01-31", Q(pk__lt=at(2026, 2, 1)), "2026-02-01T00:00"),
        (UntilFilter, "2026-01-31T08:15", Q(pk__lt=at(2026, 1, 31, 8, 15)), "2026-01-31T08:15"),
    ],
)
def test_a_day_is_all_of_it_and_a_minute_is_a_moment(kind: Any, value: str, condition: Q, in_form: str) -> None:
    one = filter_with(kind, value)
    assert one.matching(value) == condition
    # The browser's field takes minutes only, so a day is sent back as the minute that means the same.
    assert one.field_value() == in_form
    assert one.matching(in_form) == condition


@pytest.mark.parametrize("kind", [SinceFilter, UntilFilter])
@pytest.mark.parametrize(
    "value",
    ["x", "2026-02-30", "20260131", "2026-W05-1", "2026-01-31T8:15", "2026-01-31T24:01", "2026-01-31T08:15:00",
     "2026-01-31T08:15Z", "2026-01-31 08:15", "0001-01-01", "٢٠٢٦-01-31"],
)  # fmt: skip
def test_anything_else_is_refused(kind: Any, value: str) -> None:
    with pytest.raises(IncorrectLookupParameters):
        filter_with(kind, value).matching(value)


def test_rows_whose_ids_do_not_tell_are_filtered_by_their_column() -> None:
    [(lookup, _)] = filter_with(age_filter("at"), "hour").matching("hour").children
    assert lookup == "at__gte"
    with pytest.raises(IncorrectLookupParameters):
        filter_with(AgeFilter, "century").matching("century")


def test_links_name_a_moment_to_the_minute() -> None:
    assert format_filter_time(datetime(2026, 1, 31, 8, 15, 59, tzinfo=UTC)) == "2026-01-31T08:15"
