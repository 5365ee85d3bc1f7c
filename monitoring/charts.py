"""The picture of the past day: how many turns were asked for in each hour, and how many of them failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from agents.domain.failures import SILENT_CLASSES
from foundation.ids import lowest_id

HOURS: Final = 24
# The units of the picture; the page stretches it.
HEIGHT: Final = 100
STEP: Final = 10
# What failed is seen however little it is.
MIN_FAILED_HEIGHT: Final = 3

# Ids sort by time: each hour is one range of the primary key, and what went wrong one range of an index of its own.
_COUNTS: Final = """
SELECT (SELECT count(*) FROM agents_turn WHERE id >= hour.first AND id < hour.next),
       (SELECT count(*) FROM agents_turn WHERE id >= hour.first AND id < hour.next
          AND status IN ('expired', 'failed') AND error_class <> ALL(%(quiet)s))
FROM unnest(%(firsts)s::uuid[], %(nexts)s::uuid[]) WITH ORDINALITY AS hour(first, next, number) ORDER BY number
"""


@dataclass(frozen=True, slots=True)
class Hour:
    """An hour of the clock in UTC. `failed` are those that failed or expired, without those that operators failed."""

    begins_at: datetime
    turns: int
    failed: int


@dataclass(frozen=True, slots=True)
class Bar:
    """An hour in the picture. `good` stands upon `bad`; both are heights."""

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
    """What the page shows. `marks` are the hours written below, one for a quarter of the width each."""

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
        """How much failed, in percent."""
        return f"{100 * self.failed / self.turns:.1f} %" if self.turns else "0 %"


def past_day(now: datetime) -> Day:
    """The hour that has begun and the 23 before it. One query."""
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    nexts = [*begins[1:], last + timedelta(hours=1)]
    bounds = {"firsts": [lowest_id(at) for at in begins], "nexts": [lowest_id(at) for at in nexts]}
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, {**bounds, "quiet": list(SILENT_CLASSES)})
        rows = cursor.fetchall()
    return make_bars([Hour(at, turns, failed) for at, (turns, failed) in zip(begins, rows, strict=True)])


def make_bars(hours: Sequence[Hour]) -> Day:
    """The bars in proportion to the busiest hour."""
    busiest = max((hour.turns for hour in hours), default=0)
    bars = []
    for number, hour in enumerate(hours):
        height = round(HEIGHT * hour.turns / busiest) if busiest else 0
        bad = max(MIN_FAILED_HEIGHT, round(HEIGHT * hour.failed / busiest)) if hour.failed else 0
        bars.append(Bar(hour, x=STEP * number, good=max(0, height - bad), bad=bad))
    return Day(bars, sum(hour.turns for hour in hours), sum(hour.failed for hour in hours), busiest)
