"""The ranges of time that the dashboard and the patterns are shown for, and how each is cut into buckets. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final


@dataclass(frozen=True, slots=True)
class DashboardRange:
    """A range that ends now. `name` stands in the address; `bucket` is the width of a point of its charts, of which
    there are `buckets`; every `marked`th boundary is labelled on the axis, by `mark_format`."""

    name: str
    label: str
    bucket: timedelta
    buckets: int
    marked: timedelta
    mark_format: str

    def starts(self, now: datetime) -> Sequence[datetime]:
        """The starts of its buckets, each a multiple of the width in UTC; the last bucket is the present one."""
        last = floor_time(now, self.bucket)
        return [last - self.bucket * ago for ago in reversed(range(self.buckets))]

    def since(self, now: datetime) -> datetime:
        """The start of its first bucket."""
        return self.starts(now)[0]


def floor_time(at: datetime, width: timedelta) -> datetime:
    """The latest multiple of `width` since 1970 in UTC that is not after `at`."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return at.astimezone(UTC) - (at - epoch) % width


RANGES: Final = {
    time_range.name: time_range
    for time_range in (
        DashboardRange("1h", "hour", timedelta(minutes=1), 60, timedelta(minutes=10), "%H:%M"),
        DashboardRange("6h", "6 hours", timedelta(minutes=5), 72, timedelta(hours=1), "%H:%M"),
        DashboardRange("24h", "24 hours", timedelta(hours=1), 24, timedelta(hours=4), "%H:%M"),
        DashboardRange("7d", "7 days", timedelta(hours=3), 56, timedelta(days=1), "%d %b"),
        DashboardRange("30d", "30 days", timedelta(days=1), 30, timedelta(days=5), "%d %b"),
    )
}
DEFAULT_RANGE: Final = RANGES["24h"]
