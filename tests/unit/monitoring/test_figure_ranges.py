"""Which rollups cover a range: without a gap, without an overlap, the widest that fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.models import RollupWidth
from agents.models.rollups import HOURS_REACH, MINUTES_REACH
from monitoring.figure_ranges import RollupSpan, cover, covered_range

NOW = datetime(2026, 11, 30, 14, 37, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = RollupWidth.MINUTE, RollupWidth.HOUR, RollupWidth.DAY
LENGTHS = {MINUTE: timedelta(minutes=1), HOUR: timedelta(hours=1), DAY: timedelta(days=1)}


def at(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


def test_the_past_day_is_minutes_to_the_hour_hours_to_midnight_and_today() -> None:
    assert cover(NOW - timedelta(days=1), NOW, now=NOW, widest=DAY) == [
        RollupSpan(MINUTE, at(29, 14, 37), at(29, 15)),
        RollupSpan(HOUR, at(29, 15), at(30)),
        RollupSpan(DAY, at(30), None),
    ]


def test_a_chart_by_minutes_or_hours_reads_nothing_wider() -> None:
    since = NOW - timedelta(hours=1)
    assert cover(since, NOW, now=NOW, widest=MINUTE) == [RollupSpan(MINUTE, at(30, 13, 37), None)]
    assert cover(since, NOW, now=NOW, widest=HOUR) == [
        RollupSpan(MINUTE, at(30, 13, 37), at(30, 14)),
        RollupSpan(HOUR, at(30, 14), None),
    ]


def test_what_is_old_is_read_as_it_was_stored() -> None:
    assert cover(at(20, 9, 50), at(20, 11, 10), now=NOW, widest=MINUTE) == [RollupSpan(HOUR, at(20, 9), at(20, 12))]
    assert cover(at(3, 9, month=7), at(4, 9, month=7), now=NOW, widest=MINUTE) == [
        RollupSpan(DAY, at(3, month=7), at(5, month=7))
    ]  # fmt: skip
    assert covered_range(at(20, 9, 50), NOW, now=NOW) == (at(20, 9), at(30, 14, 38))


@pytest.mark.parametrize("until", [NOW - timedelta(hours=2), NOW - timedelta(hours=1)])
def test_an_empty_range_has_no_spans(until: datetime) -> None:
    assert cover(NOW - timedelta(hours=1), until.replace(second=0), now=NOW.replace(second=0), widest=DAY) == []


MOMENTS = st.integers(0, 200 * 24 * 60 * 60).map(lambda seconds: NOW - timedelta(seconds=seconds))


@given(MOMENTS, MOMENTS, st.sampled_from([MINUTE, HOUR, DAY]))
def test_any_range_is_covered_once_and_by_rollups_that_are_still_there(
    one: datetime, other: datetime, widest: RollupWidth
) -> None:
    since, until = sorted((one, other))
    spans = cover(since, until, now=NOW, widest=widest)
    if not spans:
        assert covered_range(since, until, now=NOW)[0] == covered_range(since, until, now=NOW)[1]
        return
    first, last = covered_range(since, until, now=NOW)
    assert spans[0].first == first
    assert spans[-1].last is None or spans[-1].last == last
    for span, following in pairwise(spans):
        assert span.last == following.first
    for span in spans:
        end = span.last or span.first + LENGTHS[span.width]
        assert (end - span.first) % LENGTHS[span.width] == timedelta(0)
        assert span.first.timestamp() % LENGTHS[span.width].total_seconds() == 0
        if span.width is MINUTE:
            assert span.first >= NOW - MINUTES_REACH
        if span.width is HOUR:
            assert span.first >= NOW - HOURS_REACH
