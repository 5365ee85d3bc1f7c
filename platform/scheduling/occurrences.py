"""The runs of a cron expression: the next few, how many in a span, and the shortest time between two of them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from cronsim import CronSim

from scheduling.timing import next_run

_DAY_MINUTES: Final = 24 * 60


def next_runs(cron: str, time_zone: str, *, after: datetime, count: int) -> list[datetime]:
    """The first `count` times later than `after`, in UTC. Raises `InvalidInput` as `next_run` does."""
    runs: list[datetime] = []
    for _ in range(count):
        after = next_run(cron, time_zone, after=after)
        runs.append(after)
    return runs


@dataclass(frozen=True, slots=True)
class PassedRuns:
    """How many times passed, the last of them that was counted (None: none passed), and the first one to come."""

    count: int
    newest: datetime | None
    following: datetime


def passed_runs(cron: str, time_zone: str, *, after: datetime, until: datetime, limit: int) -> PassedRuns:
    """The times later than `after` and not later than `until`; no more than `limit` are counted. Raises `InvalidInput`
    as `next_run` does."""
    count, newest, following = 0, None, next_run(cron, time_zone, after=after)
    while following <= until:
        count, newest = count + 1, following
        following = next_run(cron, time_zone, after=following if count < limit else until)
    return PassedRuns(count, newest, following)


def shortest_gap_minutes(cron: str) -> int:
    """The minutes between the two nearest runs of a valid `cron` on the clock, also over midnight, if every day were
    one of its days; a day if it runs once a day. Changes of the clocks do not count."""
    fields = CronSim(cron, datetime(2000, 1, 1))
    minutes = sorted(hour * 60 + minute for hour in fields.hours for minute in fields.minutes)
    return min(later - earlier for earlier, later in pairwise([*minutes, minutes[0] + _DAY_MINUTES]))
