"""What ended turns of a range of time come to: sums and histograms of its buckets, and of all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from agents.domain.duration_buckets import BUCKET_COUNT
from agents.models import ANSWERED_LATER, FAILED, Turn
from console.charts import Axis, bucket_number
from monitoring.figures import By, Histogram, TurnFigures, read_turn_figures
from monitoring.time_ranges import DashboardRange, floor_time

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Period:
    """Turns that ended in a range of time, in the terms of `TurnFigures`. `minutes` is its length.

    `failed` are without the failures that a later retry has answered, which are `answered_later`.
    """

    minutes: float
    turns: int
    failed: int
    answered_later: int
    completed: int
    seconds: Histogram
    queue: Histogram
    first_token: Histogram
    added: Histogram
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    cost_unknown: int
    fallbacks: int

    @property
    def others(self) -> int:
        """Neither completed nor failed: cancelled, or ended by an operator."""
        return self.turns - self.completed - self.failed - self.answered_later

    @property
    def per_minute(self) -> float:
        return self.turns / self.minutes if self.minutes else 0.0

    @property
    def failed_share(self) -> float | None:
        """None without turns."""
        return self.failed / self.turns if self.turns else None

    @property
    def completed_share(self) -> float | None:
        """None without turns."""
        return self.completed / self.turns if self.turns else None


@dataclass(frozen=True, slots=True)
class PeriodFigures:
    """The figures of a range: as a whole, and of each bucket of its axis. `until` is the whole minute that it was read
    up to."""

    since: datetime
    until: datetime
    axis: Axis
    total: Period
    buckets: Sequence[Period]


def read_period(time_range: DashboardRange, now: datetime) -> PeriodFigures:
    """The figures of the turns that ended in the range up to `now`. Two statements."""
    axis = make_axis(time_range, now)
    since, until = axis.starts[0], end_of_minute(now)
    rows = read_turn_figures(since, until, by=(_width(time_range),))
    by_bucket: list[list[TurnFigures]] = [[] for _ in axis.starts]
    for row in rows:
        if row.at is not None and 0 <= (number := bucket_number(row.at, axis)) < len(by_bucket):
            by_bucket[number].append(row)
    answered = [0] * len(by_bucket)
    for at in _answered_later(since, until):
        answered[min(bucket_number(at, axis), len(answered) - 1)] += 1
    buckets = [
        sum_figures(inside, axis.bucket / MINUTE, answered_later=number)
        for inside, number in zip(by_bucket, answered, strict=True)
    ]
    total = sum_figures(rows, (until - since) / MINUTE, answered_later=sum(answered))
    return PeriodFigures(since, until, axis, total, buckets)


def _answered_later(since: datetime, until: datetime) -> Iterable[datetime]:
    """When the turns failed whose question a later turn has answered: they are few, and an index has them."""
    # Said once more, or the planner does not see that the index of retried turns has them.
    retried = Turn.objects.filter(retried_by__isnull=False)
    turns = retried.filter(FAILED & ANSWERED_LATER, finished_at__gte=since, finished_at__lt=until)
    return [at for at in turns.values_list("finished_at", flat=True) if at is not None]


def make_axis(time_range: DashboardRange, now: datetime) -> Axis:
    """The axis of the charts of a range."""
    return Axis(time_range.starts(now), time_range.bucket, time_range.marked, time_range.mark_format)


def end_of_minute(at: datetime) -> datetime:
    """The end of the minute of `at`."""
    return floor_time(at, MINUTE) + MINUTE


def _width(time_range: DashboardRange) -> By:
    """The widest rows that fit the buckets of a range."""
    if time_range.bucket % timedelta(days=1) == timedelta():
        return By.DAY
    return By.HOUR if time_range.bucket % timedelta(hours=1) == timedelta() else By.MINUTE


def sum_figures(rows: Sequence[TurnFigures], minutes: float, *, answered_later: int = 0) -> Period:
    """The sum of `rows`, as the figures of so many minutes, in which so many turns failed that a retry answered."""
    failed = sum(row.failed for row in rows)
    # A deleted turn is still counted as failed, but nobody knows any more whether it was answered.
    answered_later = min(answered_later, failed)
    return Period(
        minutes=minutes,
        turns=sum(row.turns for row in rows),
        failed=failed - answered_later,
        answered_later=answered_later,
        completed=sum(row.completed for row in rows),
        seconds=sum_histograms(row.seconds for row in rows),
        queue=sum_histograms(row.queue for row in rows),
        added=sum_histograms(row.added for row in rows),
        first_token=sum_histograms(row.first_token for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        cost_usd=sum((row.cost_usd for row in rows), Decimal(0)),
        cost_unknown=sum(row.cost_unknown for row in rows),
        fallbacks=sum(row.fallbacks for row in rows),
    )


def sum_histograms(histograms: Iterable[Histogram]) -> Histogram:
    """One histogram of what is in all of them."""
    parts = [histogram for histogram in histograms if histogram.count]
    return Histogram(
        count=sum(part.count for part in parts),
        total=sum(part.total for part in parts),
        min=min((part.min for part in parts if part.min is not None), default=None),
        max=max((part.max for part in parts if part.max is not None), default=None),
        buckets=tuple(map(sum, zip(*(part.buckets for part in parts), strict=True))) or (0,) * BUCKET_COUNT,
    )
