"""The times that are shaded in a chart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from console.charts import MIN_SHADE, WIDTH, Axis, ChartShape, Series, ShadedTime, make_chart

_START = datetime(2026, 11, 22, tzinfo=UTC)
_HOUR = timedelta(hours=1)


def shades(*spans: tuple[float, float]) -> list[tuple[float, float]]:
    """Of a chart of ten hours, with `spans` in hours from its beginning."""
    axis = Axis([_START + _HOUR * number for number in range(10)], _HOUR, _HOUR, "%H:%M")
    times = [ShadedTime(_START + _HOUR * start, _START + _HOUR * end, "fires") for start, end in spans]
    series = [Series("value", "used", [1.0] * 10)]
    chart = make_chart("x", "X", axis, series, shape=ChartShape.LINES, format_value=str, spans=times)
    return [(shade.x, shade.width) for shade in chart.shades]


def test_a_time_is_shaded_at_its_place_and_what_is_outside_is_cut_off() -> None:
    assert shades((1, 3), (-2, 1), (9, 12)) == [(100, 200), (0, 100), (900, 100)]
    assert shades((-3, -1), (10, 11)) == []


def test_a_moment_is_wide_enough_to_be_seen_and_stays_inside() -> None:
    assert shades((5, 5), (10, 10)) == [(500, MIN_SHADE), (WIDTH - MIN_SHADE, MIN_SHADE)]
