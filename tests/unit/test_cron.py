from datetime import UTC, datetime

import pytest

from foundation.errors import InvalidInput
from scheduling.cron import read_cron

SUNDAY = datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC)


def following(text: str, moment: datetime = SUNDAY) -> str:
    found = read_cron(text, now=moment).next_after(moment)
    assert found is not None
    return found.strftime("%a %Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("* * * * *", "Sun 2026-11-22 12:31"),
        ("*/15 * * * *", "Sun 2026-11-22 12:45"),
        ("30 12 * * *", "Mon 2026-11-23 12:30"),
        ("31 12 * * *", "Sun 2026-11-22 12:31"),
        ("30 3 * * *", "Mon 2026-11-23 03:30"),
        ("0 0 1 * *", "Tue 2026-12-01 00:00"),
        ("0 0 31 * *", "Thu 2026-12-31 00:00"),
        ("0 0 29 2 *", "Tue 2028-02-29 00:00"),
        ("0 9 * * mon-fri", "Mon 2026-11-23 09:00"),
        ("0 9 * * 7", "Sun 2026-11-29 09:00"),
        ("0 9 * * SUN", "Sun 2026-11-29 09:00"),
        ("5,10 8-9 * jan *", "Fri 2027-01-01 08:05"),
        # Either kind of day will do when both are given.
        ("0 0 30 * tue", "Tue 2026-11-24 00:00"),
        ("0 0 */2 * tue", "Tue 2026-12-01 00:00"),
        ("50/5 * * * *", "Sun 2026-11-22 12:50"),
    ],
)
def test_the_next_run_is_the_first_that_fits(text: str, expected: str) -> None:
    assert following(text) == expected


def test_a_leap_day_across_a_century_without_one_is_found() -> None:
    assert following("0 0 29 2 *", datetime(2096, 3, 1, tzinfo=UTC)) == "Fri 2104-02-29 00:00"


@pytest.mark.parametrize("text", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *"])
def test_what_never_runs_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="never runs"):
        read_cron(text, now=SUNDAY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "*-5 * * * *",
        "a * * * *",
        "-1 * * * *",
        "1.5 * * * *",
        "1,,2 * * * *",
        "@daily",
        "0 0 * * * ; rm",
        "٣ * * * *",  # a digit, but not one of ours
        "1 * * * * " + " " * 200,
        "mon * * * *",
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text: str) -> None:
    with pytest.raises(InvalidInput):
        read_cron(text, now=SUNDAY)
