"""Charts of numbers over time, as the page draws them: scales, bars, lines and a table. Pure.

A chart has one column per bucket of time. Its plot is an SVG of `WIDTH` by `HEIGHT` units that the page stretches to
its own width; the labels of its axes stand beside it, at percentages of the same width and height, so that they keep
their size on a phone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil, floor, log10
from typing import Final

# The units of the plot.
WIDTH: Final = 1000
HEIGHT: Final = 200
# The least height of a bar of what is not zero, so that one among thousands is visible.
MIN_BAR: Final = 5
MIN_SHADE: Final = 3
# The share of a column that its bar takes.
BAR_SHARE: Final = 0.8
# The intervals of the axis of values.
INTERVALS: Final = 4
# What is lower is drawn as 0.
MIN_TOP: Final = 1e-9

Format = Callable[[float], str]


class ChartShape(StrEnum):
    """How a chart draws its series."""

    BARS = "bars"  # of each column, on top of each other
    LINES = "lines"


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers of one kind, one per bucket; None where there is none, which a line leaves out. `style` is its class in
    the style sheet. `addresses` lead to the rows behind each number; "" where there is no such page."""

    name: str
    style: str
    values: Sequence[float | None]
    addresses: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Threshold:
    """A level that a line crosses where it is high: "warn" or "bad"."""

    value: float
    label: str
    level: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A label of an axis: `percent` of the width from the left, or of the height from the top. `minor` ones are left
    out where there is little room."""

    percent: float
    label: str
    minor: bool = False

    @property
    def x(self) -> float:
        return self.percent * WIDTH / 100

    @property
    def y(self) -> float:
        return self.percent * HEIGHT / 100


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a column's bar."""

    style: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class ChartLine:
    """A line, as the data of an SVG path: broken where there is no number."""

    name: str
    style: str
    path: str


@dataclass(frozen=True, slots=True)
class Limit:
    """A threshold at its height."""

    y: float
    level: str
    label: str


@dataclass(frozen=True, slots=True)
class ShadedTime:
    """A time in the chart that is shaded: since and until when, and what it is."""

    start: datetime
    end: datetime
    title: str


@dataclass(frozen=True, slots=True)
class Shade:
    """A span at its place in the plot."""

    x: float
    width: float
    title: str


@dataclass(frozen=True, slots=True)
class ChartCell:
    """A number of the table, and the address of the rows behind it, if any."""

    text: str
    address: str


@dataclass(frozen=True, slots=True)
class Column:
    """A bucket: its place in the plot, its numbers as words, and as cells of the table."""

    at: datetime
    x: float
    width: float
    title: str
    cells: Sequence[ChartCell]

    @property
    def address(self) -> str:
        """Where a click on the column leads."""
        return next((cell.address for cell in self.cells if cell.address), "")


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. `summary` says in a sentence what it shows. `is_empty`: there is not one number in it, and `empty_words`
    stand in its place."""

    key: str
    title: str
    summary: str
    shape: ChartShape
    series: Sequence[Series]
    columns: Sequence[Column]
    values: Sequence[Mark]
    times: Sequence[Mark]
    bars: Sequence[Bar] = ()
    lines: Sequence[ChartLine] = ()
    limits: Sequence[Limit] = ()
    shades: Sequence[Shade] = ()
    is_empty: bool = False
    empty_words: str = ""
    width: int = field(default=WIDTH)
    height: int = field(default=HEIGHT)


@dataclass(frozen=True, slots=True)
class Axis:
    """The axis of time: the starts of the buckets and their width, and which boundaries are labelled how."""

    starts: Sequence[datetime]
    bucket: timedelta
    marked: timedelta
    mark_format: str

    def marks(self) -> Iterator[Mark]:
        """The labels, at the multiples of `marked`."""
        span = self.bucket * len(self.starts)
        multiples = [at for at in self.starts if not (at - at.replace(hour=0, minute=0, second=0)) % self.marked]
        if self.marked >= timedelta(days=1):
            midnights = [at for at in self.starts if (at.hour, at.minute) == (0, 0)]
            multiples = midnights[:: max(1, self.marked // timedelta(days=1))]
        for number, at in enumerate(multiples):
            yield Mark(100 * ((at - self.starts[0]) / span), at.strftime(self.mark_format), minor=number % 2 == 1)


def make_chart(
    key: str,
    title: str,
    axis: Axis,
    series: Sequence[Series],
    *,
    shape: ChartShape,
    format_value: Format,
    format_mark: Format | None = None,
    summary: str = "",
    empty_words: str = "No turn ended.",
    top: float | None = None,
    thresholds: Sequence[Threshold] = (),
    spans: Sequence[ShadedTime] = (),
) -> Chart:
    """The chart of `series` over the buckets of `axis`. `top` is the end of the axis of values; by default a round
    number that is not below the highest one. `format_mark` is for its labels, where they are not as the values."""
    width = WIDTH / max(1, len(axis.starts))
    heights = [value for one in series for value in one.values if value is not None]
    sums = [sum(one.values[number] or 0 for one in series) for number in range(len(axis.starts))]
    highest = max(sums if shape is ChartShape.BARS else heights, default=0)
    end = top if top is not None else round_top(highest)
    return Chart(
        key=key,
        title=title,
        summary=summary,
        shape=shape,
        series=series,
        columns=[_column(axis, number, series, width, format_value) for number in range(len(axis.starts))],
        values=[
            Mark(
                100 - 100 * number / INTERVALS,
                (format_mark or format_value)(end * number / INTERVALS),
                minor=number % 2 == 1,
            )
            for number in range(INTERVALS + 1)
        ],
        times=list(axis.marks()),
        bars=list(_bars(series, width, end)) if shape is ChartShape.BARS else (),
        lines=[ChartLine(one.name, one.style, _path(one.values, width, end)) for one in series]
        if shape is ChartShape.LINES
        else (),
        shades=list(_shades(spans, axis)),
        limits=[Limit(_y(limit.value, end), limit.level, limit.label) for limit in thresholds],
        is_empty=not any(heights) if shape is ChartShape.BARS else not heights,
        empty_words=empty_words,
    )


def round_top(highest: float) -> float:
    """The least of 4, 8, 10, 20, 40, 80, 100 … (or .4, .8, …) that is not below `highest`: its quarters are round, too.
    4 where `highest` is 0, or nearly."""
    if highest < MIN_TOP:
        return float(INTERVALS)
    power = 10.0 ** floor(log10(highest))
    return next(step * power for step in (1, 2, 4, 8, 10) if step * power >= highest * 0.999_999)


def _column(axis: Axis, number: int, series: Sequence[Series], width: float, format_value: Format) -> Column:
    at = axis.starts[number]
    texts = [(one.name, _text(one.values[number], format_value)) for one in series]
    return Column(
        at=at,
        x=round(number * width, 2),
        width=round(width, 2),
        title=f"{format_bucket(at, axis.bucket)}: " + ", ".join(f"{name} {text}" for name, text in texts),
        cells=[
            ChartCell(text, one.addresses[number] if one.addresses and one.values[number] else "")
            for one, (_, text) in zip(series, texts, strict=True)
        ],
    )


def _text(value: float | None, format_value: Format) -> str:
    return "\N{EN DASH}" if value is None else format_value(value)


def format_bucket(at: datetime, bucket: timedelta) -> str:
    """A bucket in words: "12:30 to 13:00 UTC", "24 Nov 03:00 to 06:00 UTC", "24 Nov (UTC)"."""
    if bucket >= timedelta(days=1):
        return f"{at:%d %b} (UTC)"
    day = f"{at:%d %b} " if bucket >= timedelta(minutes=30) else ""
    return f"{day}{at:%H:%M} to {at + bucket:%H:%M} UTC"


def _y(value: float, end: float) -> float:
    return round(HEIGHT - HEIGHT * min(1.0, value / end), 2) if end else float(HEIGHT)


def _bars(series: Sequence[Series], width: float, end: float) -> Iterator[Bar]:
    """From the last series, at the bottom, to the first one. What is not zero has a height that can be seen."""
    for number in range(max((len(one.values) for one in series), default=0)):
        below = 0.0
        for one in reversed(series):
            value = one.values[number] or 0
            if not value:
                continue
            height = min(HEIGHT - below, max(MIN_BAR, HEIGHT * value / end))
            below += height
            yield Bar(
                one.style,
                round((number + (1 - BAR_SHARE) / 2) * width, 2),
                round(HEIGHT - below, 2),
                round(BAR_SHARE * width, 2),
                round(height, 2),
            )


def _shades(spans: Sequence[ShadedTime], axis: Axis) -> Iterator[Shade]:
    """What of the spans is in the chart; a short one is as wide as can be seen."""
    length = axis.bucket * len(axis.starts)
    for span in spans:
        start, end = ((at - axis.starts[0]) / length * WIDTH for at in (span.start, span.end))
        begin, stop = max(0.0, start), min(float(WIDTH), end)
        if begin < stop or 0 <= start == end <= WIDTH:
            width = max(MIN_SHADE, stop - begin)
            yield Shade(round(min(begin, WIDTH - width), 2), round(width, 2), span.title)


def _path(values: Sequence[float | None], width: float, end: float) -> str:
    """Through the middles of the columns. A number without neighbours is a short dash, or it would not be seen."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if value is None:
            continue
        x, y = (number + 0.5) * width, _y(value, end)
        if number == 0 or values[number - 1] is None:
            is_single = number + 1 == len(values) or values[number + 1] is None
            parts.append(f"M{x - width / 3:.1f} {y:g}H{x + width / 3:.1f}" if is_single else f"M{x:.1f} {y:g}")
        else:
            parts.append(f"L{x:.1f} {y:g}")
    return "".join(parts)


def sum_buckets(points: Sequence[tuple[datetime, float]], axis: Axis) -> list[float]:
    """The sum of `points` in each bucket; 0 where there is none."""
    sums = [0.0] * len(axis.starts)
    for at, value in points:
        if 0 <= (number := bucket_number(at, axis)) < len(sums):
            sums[number] += value
    return sums


def highest_in_buckets(points: Sequence[tuple[datetime, float]], axis: Axis) -> list[float | None]:
    """The highest of `points` in each bucket; None where there is none: a gauge that nobody read is not zero."""
    highest: list[float | None] = [None] * len(axis.starts)
    for at, value in points:
        if 0 <= (number := bucket_number(at, axis)) < len(highest):
            present = highest[number]
            highest[number] = value if present is None else max(present, value)
    return highest


def bucket_number(at: datetime, axis: Axis) -> int:
    """The bucket that `at` falls into; negative before the first one."""
    return floor((at - axis.starts[0]) / axis.bucket)


def integer_top(highest: float) -> float:
    """A round number that is not below `highest`, and whose quarters are whole: for what is counted."""
    return float(max(INTERVALS, INTERVALS * ceil(round_top(highest) / INTERVALS)))
