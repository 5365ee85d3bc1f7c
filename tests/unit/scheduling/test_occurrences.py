"""The runs of a cron expression in a row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from scheduling.occurrences import next_runs, passed_runs, shortest_gap_minutes

WEEKDAYS_AT_8 = "0 8 * * 1-5"
FRIDAY = datetime(2026, 11, 27, 7, 0, tzinfo=UTC)  # 08:00 in Zurich


def test_the_next_runs_follow_the_clocks_of_the_time_zone() -> None:
    runs = next_runs(WEEKDAYS_AT_8, "Europe/Zurich", after=datetime(2026, 3, 26, 12, 0, tzinfo=UTC), count=3)
    # The clocks change on the 29th.
    assert [run.isoformat() for run in runs] == [
        "2026-03-27T07:00:00+00:00",
        "2026-03-30T06:00:00+00:00",
        "2026-03-31T06:00:00+00:00",
    ]


def test_the_runs_that_passed_are_counted_up_to_a_limit() -> None:
    monday_noon = datetime(2026, 12, 7, 12, 0, tzinfo=UTC)
    passed = passed_runs(WEEKDAYS_AT_8, "Europe/Zurich", after=FRIDAY, until=monday_noon, limit=200)
    assert (passed.count, passed.newest) == (6, datetime(2026, 12, 7, 7, 0, tzinfo=UTC))
    assert passed.following == datetime(2026, 12, 8, 7, 0, tzinfo=UTC)
    bounded = passed_runs(WEEKDAYS_AT_8, "Europe/Zurich", after=FRIDAY, until=monday_noon, limit=2)
    assert (bounded.count, bounded.following) == (2, passed.following)


def test_nothing_passed_before_the_next_run() -> None:
    passed = passed_runs(WEEKDAYS_AT_8, "Europe/Zurich", after=FRIDAY, until=FRIDAY, limit=5)
    assert (passed.count, passed.newest) == (0, None)
    assert passed.following == datetime(2026, 11, 30, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "minutes"),
    [
        ("0 8 * * *", 1440),
        ("*/15 * * * *", 15),
        ("0,5 8 1 1 *", 5),
        ("0 8,20 * * 1", 720),
        ("55,5 0,23 * * *", 10),
        ("* * * * *", 1),
        ("0 */2 * * *", 120),
    ],
)
def test_the_shortest_time_between_two_runs(cron: str, minutes: int) -> None:
    assert shortest_gap_minutes(cron) == minutes
