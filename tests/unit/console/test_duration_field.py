"""What the field for durations reads and shows."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from console.duration_field import DurationField, parse_duration
from foundation.durations import format_duration_exactly


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [
        ("0", 0, "0 s"), ("0 s", 0, "0 s"), ("45", 45, "45 s"), ("60s", 60, "1 min"), ("90 s", 90, "90 s"),
        ("5 min", 300, "5 min"), ("5m", 300, "5 min"), (" 2 H ", 7_200, "2 h"), ("1 h 30 min", 5_400, "1 h 30 min"),
        ("1h30s", 3_630, "1 h 30 s"), ("7 d", 604_800, "7 d"),
    ],
)  # fmt: skip
def test_a_duration_is_read_as_people_write_it_and_shown_so_that_it_is_read_again(
    text: str, seconds: int, shown: str
) -> None:
    assert parse_duration(text) == seconds
    assert format_duration_exactly(seconds) == shown
    assert parse_duration(shown) == seconds
    assert DurationField().clean(text) == seconds


@pytest.mark.parametrize("text", ["x", "5 x", "-5", "1.5 h", "5 min later", "1h30", "\u0665", "9" * 9])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    assert parse_duration(text) is None
    with pytest.raises(ValidationError, match="such as 90 s, 5 min or 2 h"):
        DurationField().clean(text)


def test_an_empty_field_is_nothing_if_it_may_be() -> None:
    assert DurationField(required=False).clean("") is None
    with pytest.raises(ValidationError, match="required"):
        DurationField().clean("")
