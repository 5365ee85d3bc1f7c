from datetime import UTC, datetime, timedelta

from monitoring.charts import HEIGHT, HOURS, MIN_FAILED_HEIGHT, Hour, make_bars

BEGIN = datetime(2026, 11, 22, tzinfo=UTC)


def hours(*counts: tuple[int, int]) -> list[Hour]:
    return [Hour(BEGIN + timedelta(hours=number), turns, failed) for number, (turns, failed) in enumerate(counts)]


def test_the_busiest_hour_is_as_high_as_the_picture_and_the_others_in_proportion() -> None:
    day = make_bars(hours((200, 0), (100, 50), (0, 0)))
    assert [(bar.good, bar.bad) for bar in day.bars] == [(HEIGHT, 0), (25, 25), (0, 0)]
    assert (day.turns, day.failed, day.busiest, day.share) == (300, 50, 200, "16.7 %")


def test_one_failure_among_thousands_is_seen() -> None:
    [bar] = make_bars(hours((100_000, 1))).bars
    assert (bar.bad, bar.good) == (MIN_FAILED_HEIGHT, HEIGHT - MIN_FAILED_HEIGHT)
    assert (bar.good_y, bar.bad_y) == (0, HEIGHT - MIN_FAILED_HEIGHT)


def test_an_hour_of_nothing_but_failures_is_not_higher_than_the_picture() -> None:
    assert [(bar.bad, bar.good) for bar in make_bars(hours((1, 1), (40, 40))).bars] == [
        (MIN_FAILED_HEIGHT, 0),
        (HEIGHT, 0),
    ]


def test_a_day_without_turns_has_no_height() -> None:
    day = make_bars(hours(*[(0, 0)] * HOURS))
    assert {(bar.good, bar.bad) for bar in day.bars} == {(0, 0)}
    assert (day.share, len(day.marks)) == ("0 %", 4)
