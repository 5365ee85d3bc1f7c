"""Charts: their scales, what is zero and what is missing, and what each bucket is called."""

from datetime import UTC, datetime, timedelta

import pytest

from console.charts import (
    HEIGHT,
    MIN_BAR,
    WIDTH,
    Axis,
    Chart,
    ChartShape,
    Series,
    Threshold,
    format_bucket,
    highest_in_buckets,
    integer_top,
    make_chart,
    round_top,
    sum_buckets,
)
from monitoring.time_ranges import RANGES

BEGIN = datetime(2026, 11, 22, tzinfo=UTC)
HOUR = timedelta(hours=1)


def axis(buckets: int) -> Axis:
    return Axis([BEGIN + HOUR * number for number in range(buckets)], HOUR, timedelta(hours=2), "%H:%M")


def bars(*columns: tuple[float, float]) -> Chart:
    good, bad = (list(values) for values in zip(*columns, strict=True))
    series = [Series("completed", "good", good), Series("failed", "bad", bad)]
    return make_chart("turns", "Turns", axis(len(columns)), series, shape=ChartShape.BARS, format_value="{:g}".format)


def line(*values: float | None, top: float | None = None) -> Chart:
    series = [Series("p95", "p95", values)]
    return make_chart(
        "t", "T", axis(len(values)), series, shape=ChartShape.LINES, format_value="{:g} s".format, top=top
    )


def test_bars_stand_on_each_other_in_proportion_to_a_round_end_of_the_axis() -> None:
    chart = bars((60, 20), (20, 0), (0, 0))
    assert [mark.label for mark in chart.values] == ["0", "20", "40", "60", "80"]
    assert [(bar.style, bar.y, bar.height) for bar in chart.bars] == [
        ("bad", HEIGHT * 0.75, HEIGHT * 0.25), ("good", 0, HEIGHT * 0.75), ("good", HEIGHT * 0.75, HEIGHT * 0.25),
    ]  # fmt: skip


def test_one_failure_among_thousands_is_seen() -> None:
    bad, good = bars((99_999, 1)).bars
    assert (bad.height, good.y + good.height) == (MIN_BAR, HEIGHT - MIN_BAR)


def test_no_bar_is_higher_than_the_plot() -> None:
    assert all(bar.y >= 0 for bar in bars((100, 0.001), (0.001, 100)).bars)


def test_a_chart_without_anything_says_so_and_has_a_scale_all_the_same() -> None:
    empty = bars((0, 0), (0, 0))
    assert (empty.is_empty, [mark.label for mark in empty.values]) == (True, ["0", "1", "2", "3", "4"])
    assert line(None, None).is_empty
    assert not line(None, 0.0).is_empty


def test_a_line_is_broken_where_there_is_no_number_and_a_lone_number_is_a_dash() -> None:
    [one] = line(1, 2, None, 4, None).lines
    assert one.path == "M100.0 150L300.0 100M633.3 0H766.7"


@pytest.mark.parametrize(
    ("highest", "end"),
    [(0, 4), (5e-324, 4), (0.3, 0.4), (1, 1), (1.1, 2), (3, 4), (5, 8), (9, 10), (81, 100), (99_999, 100_000)],
)
def test_the_axis_of_values_ends_at_a_round_number(highest: float, end: float) -> None:
    assert round_top(highest) == pytest.approx(end)


@pytest.mark.parametrize(("highest", "end"), [(0, 4), (1, 4), (4, 4), (9, 12), (17, 20), (150, 200)])
def test_what_is_counted_has_whole_numbers_at_its_axis(highest: float, end: float) -> None:
    assert integer_top(highest) == end


def test_a_threshold_stands_at_its_value() -> None:
    chart = make_chart(
        "memory", "Memory", axis(1), [Series("used", "used", [50])], shape=ChartShape.LINES,
        format_value="{:g} %".format,
        top=100, thresholds=[Threshold(70, "70 %", "warn"), Threshold(85, "85 %", "bad")],
    )  # fmt: skip
    assert [(limit.y, limit.level) for limit in chart.limits] == [(60, "warn"), (30, "bad")]


def test_a_column_names_its_time_its_numbers_and_the_rows_behind_them() -> None:
    series = [Series("completed", "good", [3, 0], ["/good/0", "/good/1"]), Series("failed", "bad", [None, 1])]
    first, second = make_chart("t", "T", axis(2), series, shape=ChartShape.BARS, format_value="{:g}".format).columns
    assert first.title == "22 Nov 00:00 to 01:00 UTC: completed 3, failed \N{EN DASH}"
    assert [(cell.text, cell.address) for cell in first.cells] == [("3", "/good/0"), ("\N{EN DASH}", "")]
    assert (first.address, second.address) == ("/good/0", "")  # nothing is behind a zero
    assert (first.x, second.x, second.width) == (0, WIDTH / 2, WIDTH / 2)


@pytest.mark.parametrize(
    ("bucket", "words"),
    [
        (timedelta(minutes=1), "03:20 to 03:21 UTC"),
        (timedelta(minutes=30), "22 Nov 03:20 to 03:50 UTC"),
        (timedelta(days=1), "22 Nov (UTC)"),
    ],
)
def test_a_bucket_is_called_by_its_bounds(bucket: timedelta, words: str) -> None:
    assert format_bucket(BEGIN + timedelta(hours=3, minutes=20), bucket) == words


def test_a_bucket_without_events_is_zero_and_one_without_readings_is_a_gap() -> None:
    points = [
        (BEGIN - timedelta(seconds=1), 9.0), (BEGIN, 1.0), (BEGIN + HOUR * 0.5, 3.0), (BEGIN + HOUR * 2, 2.0),
        (BEGIN + HOUR * 3, 9.0),
    ]  # fmt: skip
    assert sum_buckets(points, axis(3)) == [4, 0, 2]
    assert highest_in_buckets(points, axis(3)) == [3, None, 2]


@pytest.mark.parametrize("name", RANGES)
def test_a_range_ends_with_the_present_bucket_and_its_boundaries_are_labelled(name: str) -> None:
    now = datetime(2026, 11, 22, 13, 47, 12, tzinfo=UTC)
    chosen = RANGES[name]
    starts = chosen.starts(now)
    assert len(starts) == chosen.buckets
    assert starts[-1] <= now < starts[-1] + chosen.bucket
    assert starts[-1].timestamp() % chosen.bucket.total_seconds() == 0
    marks = list(Axis(starts, chosen.bucket, chosen.marked, chosen.mark_format).marks())
    assert 5 <= len(marks) <= 8
    assert all(0 <= mark.percent < 100 for mark in marks)
