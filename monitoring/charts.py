"""The chart of the past day: turns per hour, and how many of them failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from agents.domain.failures import SILENT_CLASSES
from agents.health_checks import UNANSWERED_FAILURE_SQL
from foundation.ids import lowest_id

HOURS: Final = 24
# The units of the SVG, which the page scales.
HEIGHT: Final = 100
STEP: Final = 10
# The least height of a bar of failed turns, so that one is visible.
MIN_FAILED_HEIGHT: Final = 3

# Ids sort by time: each hour is a range of the primary key, and its failed turns a range of a partial index.
_COUNTS: Final = f"""
SELECT (SELECT count(*) FROM agents_turn WHERE id >= hour.first AND id < hour.next),
       (SELECT count(*) FROM agents_turn WHERE id >= hour.first AND id < hour.next
          AND {UNANSWERED_FAILURE_SQL})
FROM unnest(%(firsts)s::uuid[], %(nexts)s::uuid[]) WITH ORDINALITY AS hour(first, next, number) ORDER BY number
"""  # noqa: S608 - put together from a constant; values are parameters


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of the clock in UTC. `failed` are those that failed or expired, without those that operators failed and
    those whose question a later turn has answered."""

    begins_at: datetime
    turns: int
    failed: int


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of an hour. `good` is stacked on `bad`; both are heights."""

    hour: Hour
    x: int
    good: int
    bad: int

    @property
    def good_y(self) -> int:
        return HEIGHT - self.bad - self.good

    @property
    def bad_y(self) -> int:
        return HEIGHT - self.bad


@dataclass(frozen=True, slots=True)
class Day:
    """The data of the chart. `marks` are the labels of the axis, one per quarter."""

    bars: Sequence[Bar]
    turns: int
    failed: int
    busiest: int

    @property
    def width(self) -> int:
        return STEP * len(self.bars)

    @property
    def marks(self) -> Sequence[datetime]:
        return [bar.hour.begins_at for bar in self.bars[:: max(1, len(self.bars) // 4)]]

    @property
    def share(self) -> str:
        """The share of failed turns: "1.5 %"."""
        return f"{100 * self.failed / self.turns:.1f} %" if self.turns else "0 %"


def past_day(now: datetime) -> Day:
    """The chart of the present hour and the 23 before it. One query."""
    last = now.replace(minute=0, second=0, microsecond=0)
    starts = [last - timedelta(hours=hours_ago) for hours_ago in reversed(range(HOURS))]
    ends = [*starts[1:], last + timedelta(hours=1)]
    bounds = {"firsts": [lowest_id(at) for at in starts], "nexts": [lowest_id(at) for at in ends]}
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {**bounds, "quiet": list(SILENT_CLASSES)})
        rows = cursor.fetchall()
    return make_bars([Hour(at, turns, failed) for at, (turns, failed) in zip(starts, rows, strict=True)])


def make_bars(hours: Sequence[Hour]) -> Day:
    """The chart of `hours`, scaled to the busiest one."""
    busiest = max((hour.turns for hour in hours), default=0)
    bars = []
    for number, hour in enumerate(hours):
        height = round(HEIGHT * hour.turns / busiest) if busiest else 0
        bad = max(MIN_FAILED_HEIGHT, round(HEIGHT * hour.failed / busiest)) if hour.failed else 0
        bars.append(Bar(hour, x=STEP * number, good=max(0, height - bad), bad=bad))
    return Day(bars, sum(hour.turns for hour in hours), sum(hour.failed for hour in hours), busiest)
