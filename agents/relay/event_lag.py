"""How long after its commit an event reached those who watch, as a cumulative histogram of this process."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime
from typing import Any, Final

# Upper bounds in seconds; the last bucket has none.
BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class EventLag:
    """Written on the event loop, read in any thread."""

    def __init__(self) -> None:
        self._buckets = [0] * (len(BOUNDS) + 1)
        self._count = 0
        self._seconds = 0.0

    def observe(self, committed_at: str, now: datetime) -> None:
        """Count an event that was sent `now`. By the clocks of two machines it may not have happened yet: then it took
        no time."""
        seconds = max(0.0, (now - datetime.fromisoformat(committed_at)).total_seconds())
        self._buckets[bisect_left(BOUNDS, seconds)] += 1
        self._count += 1
        self._seconds += seconds

    def figures(self) -> dict[str, Any]:
        """The histogram: how many events took longer than the bound before and not longer than their own."""
        return {
            "bounds": list(BOUNDS),
            "buckets": list(self._buckets),
            "count": self._count,
            "seconds_total": round(self._seconds, 4),
        }
