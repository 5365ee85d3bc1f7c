import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.timing import CRON_MAX_LENGTH
from scheduling.timing_descriptions import describe_interval, describe_timing, time_zone_city

ZURICH = "Europe/Zurich"


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [
        (1, "every minute"),
        (15, "every 15 minutes"),
        (60, "every hour"),
        (90, "every 90 minutes"),
        (120, "every 2 hours"),
        (1440, "every day"),
        (2880, "every 2 days"),
        (10_080, "every week"),
    ],
)
def test_an_interval_is_in_its_largest_whole_unit(minutes: int, expected: str) -> None:
    assert describe_interval(minutes) == expected
    assert describe_timing(minutes, "", ZURICH) == expected, "an interval has no time zone"


@pytest.mark.parametrize(
    ("cron", "expected"),
    [
        ("20 3 * * *", "every day 03:20, Zurich"),
        ("0 8 * * 1-5", "every weekday 08:00, Zurich"),
        ("0 8 * * MON-fri", "every weekday 08:00, Zurich"),
        ("0 8 * * 0-7", "every day 08:00, Zurich"),
        ("0 8 * * 7", "every Sunday 08:00, Zurich"),
        ("0 9,17 * * fri,mon", "every Monday and Friday 09:00 and 17:00, Zurich"),
        ("0 9 * * sun,sat,wed", "every Wednesday, Saturday and Sunday 09:00, Zurich"),
        ("*/15 * * * *", "every 15th minute of every hour, Zurich"),
        ("0 0 1 * *", "at 00:00 on the first day of every month, Zurich"),
        ("0 0 * * mon#1", "at 00:00 on the first Monday of the month, Zurich"),
        ("0 6 LW * *", "at 06:00 on the last weekday of every month, Zurich"),
        ("0 7 * jan *", "at 07:00 every day in January, Zurich"),
        ("0 0 30 * tue", "at 00:00 on the 30th day of the month or on Tuesday, Zurich"),
        ("0 0 22,31 * *", "at 00:00 on the 22nd and the 31st day of the month, Zurich"),
    ],
)
def test_a_cron_expression_is_described_in_words(cron: str, expected: str) -> None:
    assert describe_timing(None, cron, ZURICH) == expected


@pytest.mark.parametrize("cron", ["", "every day", "99 * * * *", "0 0 31 2 *"])
def test_what_cannot_be_read_is_shown_as_it_is(cron: str) -> None:
    assert describe_timing(None, cron, "UTC") == f"{cron}, UTC"


def test_a_time_zone_is_named_by_its_place() -> None:
    assert time_zone_city("UTC") == "UTC"
    assert time_zone_city("America/Argentina/Buenos_Aires") == "Buenos Aires"


@given(st.text("0123456789*/,-#LW amonfri", max_size=CRON_MAX_LENGTH))
def test_any_text_has_a_description(cron: str) -> None:
    assert describe_timing(None, cron, "UTC").endswith(", UTC")


_MINUTES = st.sampled_from(["*", "*/5", "0", "59", "1-5", "1,2,3", "50/5", "7-59/9"])
_HOURS = st.sampled_from(["*", "*/3", "0", "23", "9-17", "9,17", "5/7"])
_DAYS = st.sampled_from(["*", "L", "LW", "31", "1-15", "L,5", "LW,1,2", "*/4", "L,LW", "1-31", "L/2"])
_MONTHS = st.sampled_from(["*", "1", "jan", "1-3", "feb,dec", "*/5"])
_WEEKDAYS = st.sampled_from(["*", "0", "7", "mon-fri", "mon#1", "5L", "mon#1,5L", "mon,tue#2", "0-7", "*/2", "0,7"])


@given(st.tuples(_MINUTES, _HOURS, _DAYS, _MONTHS, _WEEKDAYS).map(" ".join))
def test_any_valid_expression_has_a_description(cron: str) -> None:
    assert describe_timing(None, cron, "UTC") != f"{cron}, UTC"
