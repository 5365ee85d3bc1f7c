"""The waterfall of a trace: a row for each part, with the numbers of its bar. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foundation.durations import format_seconds
from monitoring.trace.summary import KIND_LABELS
from monitoring.trace.timeline import PartKind, Timeline, TimelinePart

# The width of the picture, in its own units, and the least width of a bar, so that each can be seen.
WIDTH: Final = 1_000
MIN_BAR: Final = 4
# More rows are no picture. A turn has as many steps at most, mostly.
MAX_ROWS: Final = 400
_MARKS: Final = 4


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """A part and its bar: from `x`, `width` wide; `first_token_x` is where the first word came, None where none did.
    `begins` is how long after the beginning it began."""

    part: TimelinePart
    label: str
    begins: str
    took: str
    state: str
    first_word: str
    x: int
    width: int
    first_token_x: int | None


@dataclass(frozen=True, slots=True)
class Waterfall:
    """The rows by their beginnings, and the labels of the axis, from the beginning to the end. `left_out` is the number
    of further parts."""

    rows: Sequence[WaterfallRow]
    marks: Sequence[str]
    left_out: int = 0


def make_waterfall(timeline: Timeline) -> Waterfall:
    """The waterfall of `timeline`."""
    scale = WIDTH / timeline.seconds if timeline.seconds > 0 else 0.0
    rows = [_row(part, timeline, scale) for part in timeline.parts[:MAX_ROWS]]
    marks = [format_seconds(timeline.seconds * number / _MARKS) for number in range(_MARKS)]
    return Waterfall(rows, marks, max(0, len(timeline.parts) - MAX_ROWS))


def _row(part: TimelinePart, timeline: Timeline, scale: float) -> WaterfallRow:
    begins = (part.started_at - timeline.started_at).total_seconds()
    width = max(MIN_BAR, round(part.seconds * scale))
    x = min(round(begins * scale), WIDTH - width)
    first = part.first_token_at
    return WaterfallRow(
        part=part,
        label=_label(part),
        begins=format_seconds(begins),
        took=format_seconds(part.seconds),
        state="not ended" if part.is_open else "failed" if part.failed else "",
        first_word="" if first is None else format_seconds((first - part.started_at).total_seconds()),
        x=max(0, x),
        width=width,
        first_token_x=None
        if first is None
        else min(WIDTH, round((first - timeline.started_at).total_seconds() * scale)),
    )


def _label(part: TimelinePart) -> str:
    if part.step is not None:
        return f"{part.step.number}. {part.name}"
    transport = (part.attributes or {}).get("bandstand.transport", "")
    if part.kind is PartKind.APPROVAL:
        return f"{KIND_LABELS[part.kind]}, {part.name}"
    if part.kind is PartKind.OTHER:
        return part.name
    label = KIND_LABELS[part.kind].removeprefix("the ")
    return f"{label}, {transport}" if transport else label
