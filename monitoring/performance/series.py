"""What the performance monitor knows of runners and agents: pure values, computed from samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from uuid import UUID

BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class RunnerPoint:
    """One sample of a runner. Totals only rise."""

    at: datetime
    status: str
    requests_total: int
    errors_total: int
    seconds_total: float
    memory_bytes: int | None
    memory_limit_bytes: int | None
    running: int

    @property
    def memory_percent(self) -> float | None:
        """The memory of the process, in percent of its limit; None if that is unknown."""
        if self.memory_bytes is None or not self.memory_limit_bytes:
            return None
        return 100 * self.memory_bytes / self.memory_limit_bytes


@dataclass(frozen=True, slots=True)
class RunnerSeries:
    """A live runner and its samples of the last minutes, oldest first. `claim_limit` is None unless it was lowered."""

    id: UUID
    host: str
    pid: int
    capacity: int
    claim_limit: int | None
    running: int
    points: Sequence[RunnerPoint]

    @property
    def name(self) -> str:
        """Its host and pid."""
        return f"{self.host}:{self.pid}"

    @property
    def limit(self) -> int:
        """How many turns it may have at a time."""
        return self.capacity if self.claim_limit is None else min(self.capacity, self.claim_limit)

    def newest(self, count: int) -> Sequence[RunnerPoint]:
        """Its newest `count` samples; none if there are fewer."""
        return self.points[-count:] if len(self.points) >= count else ()

    def window(self, count: int, *, skip: int = 0) -> TurnWindow:
        """What happened over `count` intervals, without the newest `skip` of them."""
        end = len(self.points) - skip
        return TurnWindow(self.points[max(0, end - count - 1) : max(0, end)])


@dataclass(frozen=True, slots=True)
class TurnWindow:
    """The turns that a runner ended between the first and the last of some samples."""

    points: Sequence[RunnerPoint]

    @property
    def turns(self) -> int:
        return self.points[-1].requests_total - self.points[0].requests_total if self.points else 0

    @property
    def errors(self) -> int:
        return self.points[-1].errors_total - self.points[0].errors_total if self.points else 0

    @property
    def mean_seconds(self) -> float | None:
        """Of a turn; None without turns."""
        if not self.turns:
            return None
        return (self.points[-1].seconds_total - self.points[0].seconds_total) / self.turns

    @property
    def error_percent(self) -> float | None:
        """Failed turns; None without turns."""
        return 100 * self.errors / self.turns if self.turns else None


@dataclass(frozen=True, slots=True)
class AgentContext:
    """How much of the windows of its models the calls of an agent used in the last hour."""

    id: UUID
    name: str
    calls: int
    mean_percent: float


def median_seconds(windows: Sequence[TurnWindow]) -> float | None:
    """The median of the mean times of runners; None if none had turns."""
    means = [window.mean_seconds for window in windows if window.mean_seconds is not None]
    return median(means) if means else None
