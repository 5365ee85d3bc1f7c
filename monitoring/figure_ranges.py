"""Which rollups cover a range of time: the widest that fit, so that a month is some dozen rows of each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from agents.models import RollupWidth
from agents.models.rollups import HOURS_REACH, MINUTES_REACH

_LENGTHS: Final = {
    RollupWidth.DAY: timedelta(days=1),
    RollupWidth.HOUR: timedelta(hours=1),
    RollupWidth.MINUTE: timedelta(minutes=1),
}


@dataclass(frozen=True, slots=True)
class RollupSpan:
    """Rollups of one width from `first` to before `last`; None: without end."""

    width: RollupWidth
    first: datetime
    last: datetime | None


# The totals.
ALL_TIME: Final = RollupSpan(RollupWidth.TOTAL, datetime.fromtimestamp(0, UTC), None)


def covered_range(since: datetime, until: datetime, *, now: datetime) -> tuple[datetime, datetime]:
    """What figures from `since` to `until` stand for, in UTC: the range rounded outwards to whole minutes, beyond
    eight days to hours and beyond 90 days to days."""
    return _floor(since, _finest(since, now)), _ceil(until, _finest(until, now))


def cover(since: datetime, until: datetime, *, now: datetime, widest: RollupWidth) -> list[RollupSpan]:
    """The spans that make up the range, in order; none if it is empty. None is wider than `widest`, but where narrower
    rollups are gone. The last one of a range that reaches the present has no end."""
    first, last = covered_range(since, until, now=now)
    if first >= last:
        return []
    reaches_now = last >= now
    if reaches_now:
        # Nothing is in the future, so the present hour and day may be read as a whole.
        last = _ceil(max(last, now + timedelta.resolution), widest)
    hours_from, minutes_from = _reaches(now)
    allowed = [width for width in _LENGTHS if _LENGTHS[width] <= _LENGTHS[widest]]
    parts = (
        (first, min(last, hours_from), [RollupWidth.DAY]),
        (max(first, hours_from), min(last, minutes_from), allowed[:-1] or [RollupWidth.HOUR]),
        (max(first, minutes_from), last, allowed),
    )
    spans = [span for start, end, widths in parts for span in _fill(start, end, widths)]
    return [*spans[:-1], replace(spans[-1], last=None)] if reaches_now else spans


def _fill(first: datetime, last: datetime, widths: Sequence[RollupWidth]) -> Iterator[RollupSpan]:
    """The spans from `first` to `last`, which begin and end where the last of `widths` does."""
    if first >= last:
        return
    width, narrower = widths[0], widths[1:]
    start, end = _ceil(first, width), _floor(last, width)
    if start >= end:
        yield from _fill(first, last, narrower)
    else:
        yield from _fill(first, start, narrower)
        yield RollupSpan(width, start, end)
        yield from _fill(end, last, narrower)


def _reaches(now: datetime) -> tuple[datetime, datetime]:
    """From when on there are rollups of hours, and of minutes."""
    return _ceil(now - HOURS_REACH, RollupWidth.DAY), _ceil(now - MINUTES_REACH, RollupWidth.HOUR)


def _finest(at: datetime, now: datetime) -> RollupWidth:
    hours_from, minutes_from = _reaches(now)
    if at < hours_from:
        return RollupWidth.DAY
    return RollupWidth.HOUR if at < minutes_from else RollupWidth.MINUTE


def _floor(at: datetime, width: RollupWidth) -> datetime:
    at = at.astimezone(UTC).replace(second=0, microsecond=0)
    if width is RollupWidth.MINUTE:
        return at
    return at.replace(minute=0) if width is RollupWidth.HOUR else at.replace(minute=0, hour=0)


def _ceil(at: datetime, width: RollupWidth) -> datetime:
    start = _floor(at, width)
    return start if start == at else start + _LENGTHS[width]
