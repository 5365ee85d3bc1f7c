"""Moments on the wire."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from agents.domain.serialization import moment


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 11, 22, 8, 15, 30, 1, tzinfo=UTC), "2026-11-22T08:15:30.000001Z"),
        (datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC), "2026-11-22T08:15:30.000000Z"),
        (datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2))), "2025-12-31T23:00:00.000000Z"),
    ],
)
def test_a_moment_is_utc_with_microseconds(value: datetime, text: str) -> None:
    assert moment(value) == text
