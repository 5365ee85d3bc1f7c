from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InvalidInput
from scheduling.timing import CRON_MAX_LENGTH, next_run, time_zone_names

SUNDAY = datetime(2026, 11, 22, 12, 30, 15, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def runs(cron: str, time_zone: str, after: datetime, count: int) -> list[str]:
    """The next runs, in UTC, each as seen when the one before it is over."""
    found = []
    for _ in range(count):
        after = next_run(cron, time_zone, after=after)
        found.append(after.strftime("%m-%d %H:%M"))
    return found


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
        ("0 0 L * *", "Mon 2026-11-30 00:00"),
        ("0 6 LW * *", "Mon 2026-11-30 06:00"),
        ("0 0 * * mon#1", "Mon 2026-12-07 00:00"),
        ("0 0 * * 5L", "Fri 2026-11-27 00:00"),
    ],
)
def test_the_next_run_is_the_first_that_fits(text: str, expected: str) -> None:
    assert next_run(text, "UTC", after=SUNDAY).strftime("%a %Y-%m-%d %H:%M") == expected


def test_a_leap_day_across_a_century_without_one_comes() -> None:
    assert next_run("0 0 29 2 *", "UTC", after=datetime(2096, 3, 1, tzinfo=UTC)).year == 2104


@pytest.mark.parametrize(
    ("time_zone", "expected"),
    [
        ("UTC", "11-23 03:30"),
        (BERLIN, "11-23 02:30"),
        ("America/New_York", "11-23 08:30"),
        ("Asia/Kathmandu", "11-22 21:45"),
        ("Pacific/Kiritimati", "11-22 13:30"),
    ],
)
def test_an_expression_is_read_on_the_clocks_of_its_zone(time_zone: str, expected: str) -> None:
    assert runs("30 3 * * *", time_zone, SUNDAY, 1) == [expected]
    assert next_run("30 3 * * *", time_zone, after=SUNDAY).tzinfo is UTC


def test_a_time_that_clocks_skip_in_spring_runs_when_they_have_moved() -> None:
    before = datetime(2026, 3, 28, 12, tzinfo=UTC)
    # 02:30 does not come on the 29th: clocks go from 02:00 to 03:00, which is 01:00 UTC.
    assert runs("30 2 * * *", BERLIN, before, 2) == ["03-29 01:00", "03-30 00:30"]
    assert runs("0,30 2 * * *", BERLIN, before, 3) == ["03-29 01:00", "03-30 00:00", "03-30 00:30"]


def test_a_time_that_comes_twice_in_autumn_runs_once() -> None:
    # 02:30 comes at 00:30 UTC and again at 01:30 UTC.
    assert runs("30 2 * * *", BERLIN, datetime(2026, 10, 24, 12, tzinfo=UTC), 2) == ["10-25 00:30", "10-26 01:30"]
    between = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)
    assert runs("30 2 * * *", BERLIN, between, 1) == ["10-26 01:30"], "it has been, and is not due once more"


@pytest.mark.parametrize("text", ["*/30 * * * *", "0,30 * * * *", "*/30 0-4 * * *"])
def test_what_runs_each_hour_goes_by_the_time_that_passes(text: str) -> None:
    for day in (datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 10, 25, tzinfo=UTC)):
        moments = [datetime.strptime(f"2026-{one}", "%Y-%m-%d %H:%M") for one in runs(text, BERLIN, day, 4)]
        assert {later - earlier for earlier, later in pairwise(moments)} == {timedelta(minutes=30)}


@given(
    st.sampled_from(
        ["30 2 * * *", "0 0 * * *", "59 1 * * *", "0-59 1 * * *", "*/20 * * * *", "15 * * * *", "0 3 L * *"]
    ),
    st.sampled_from([BERLIN, "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "Africa/Casablanca", "UTC"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC)),
)
def test_a_next_run_is_later_and_on_a_minute_that_fits(text: str, time_zone: str, after: datetime) -> None:
    due = next_run(text, time_zone, after=after)
    assert due > after
    assert due.second == due.microsecond == 0
    local = due.astimezone(ZoneInfo(time_zone))
    skipped = (local - timedelta(hours=1)).utcoffset() != local.utcoffset()
    hour = text.split()[1]
    assert skipped or hour == "*" or local.hour == int(hour)


@pytest.mark.parametrize(
    "text", ["0 0 31 2 *", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * */20 * 1L", "0 0 */30 2 MON#5", "0 0 */31 * 2L"]
)
def test_what_never_runs_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="never runs") as refused:
        next_run(text, BERLIN, after=SUNDAY)
    assert refused.value.pointer == "/cron"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Five fields are expected"),
        ("* * * *", "Five fields are expected"),
        ("* * * * * *", "Five fields are expected"),  # seconds first: the scheduler does not look as often
        ("@daily", "Five fields are expected"),
        ("0 0 * * * ; rm", "Five fields are expected"),
        ("60 * * * *", "The minute cannot be read: '60'. It takes 0 to 59"),
        ("mon * * * *", "The minute cannot be read: 'mon'."),
        ("*/0 * * * *", "The minute cannot be read: '*/0'."),
        ("5-1 * * * *", "The minute"),
        ("*-5 * * * *", "The minute"),
        ("-1 * * * *", "The minute"),
        ("1.5 * * * *", "The minute"),
        ("1,,2 * * * *", "The minute"),
        ("٣ * * * *", "The minute"),  # a digit, but not one of ours
        ("L * * * *", "The minute"),
        ("* 24 * * *", "The hour cannot be read: '24'. It takes 0 to 23"),
        ("* * 0 * *", "The day of the month cannot be read: '0'. It takes 1 to 31"),
        ("* * 32 * *", "The day of the month"),
        ("* * ? * *", "The day of the month"),
        ("* * * 13 *", "The month cannot be read: '13'. It takes 1 to 12"),
        ("* * * * 8", "The day of the week cannot be read: '8'. It takes 0 to 7"),
        ("* * * * mon#6", "The day of the week"),
        ("0 0 31 2 8", "The day of the week"),
        ("0 0 * * *\x00", "The day of the week"),
        ("1" * 90 + " * * * *", "The minute cannot be read: '11111111111111111111'."),
        ("1 * * * * " + " " * CRON_MAX_LENGTH, "At most 100 characters"),
        ("1," * 100_000 + "1 * * * *", "At most 100 characters"),
    ],
)
def test_each_fault_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        next_run(text, "UTC", after=SUNDAY)
    assert words in refused.value.detail
    assert refused.value.pointer == "/cron"


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "europe/berlin", "../../etc/passwd", "/etc/localtime", "localtime", "Factory", "posix/UTC"],
)
def test_a_zone_that_is_not_an_iana_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match="no time zone") as refused:
        next_run("* * * * *", name, after=SUNDAY)
    assert refused.value.pointer == "/time_zone"


def test_every_zone_that_is_offered_can_be_used() -> None:
    assert {"UTC", BERLIN, "America/Argentina/Buenos_Aires"} <= set(time_zone_names())
    for name in time_zone_names():
        assert next_run("30 3 * * *", name, after=SUNDAY) > SUNDAY
