"""Figures of ended turns and of their calls, over any range of time: of what is counted, and of what will be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from agents.domain.duration_buckets import DURATION_BOUNDS


class By(StrEnum):
    """What figures are broken down by. Of the three widths of time one at most."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    AGENT = "agent"
    RELEASE = "release"
    STATUS = "status"  # of turns only
    ERROR_CLASS = "error_class"
    OPERATION = "operation"  # of calls only: the kind of step
    NAME = "name"  # of calls only: the route or the tool


@dataclass(frozen=True, slots=True)
class Histogram:
    """Durations in seconds: how many, their sum, and how many in each bucket of `DURATION_BOUNDS` (not cumulative; the
    last one has what is longer). `min` and `max` are None where there are none, or nobody has stored them."""

    count: int
    total: float
    min: float | None
    max: float | None
    buckets: tuple[int, ...]

    @property
    def mean(self) -> float | None:
        """None if it is empty."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """The duration that `share` (0 to 1) of all do not exceed, linear within its bucket; None if it is empty. In
        the last bucket it is the longest one, or the last bound where that is not known."""
        if not self.count:
            return None
        rank, below = share * self.count, 0
        for number, inside in enumerate(self.buckets):
            if inside and below + inside >= rank:
                return self._within(number, max(0.0, rank - below) / inside)
            below += inside
        return self._within(len(self.buckets) - 1, 1.0)

    def _within(self, number: int, share: float) -> float:
        lower = DURATION_BOUNDS[number - 1] if number else 0.0
        if number < len(DURATION_BOUNDS):
            upper = DURATION_BOUNDS[number]
        else:
            upper = lower if self.max is None else self.max
        lowest = lower if self.min is None else max(lower, self.min)
        highest = upper if self.max is None else min(upper, self.max)
        return lowest + share * max(0.0, highest - lowest)


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """Turns that ended in `at`, the beginning of a minute, hour or day, or in the whole range. What they are not broken
    down by is None.

    `failed` are those that failed or expired, without those that raise no alert. `seconds` from the acceptance of a
    message to its turn's end, `queue` to its first claim, `first_token` to the first token of a model; `added` is the
    part of `seconds` in which no step was open. Tokens and costs are lower bounds while `cost_unknown`, the turns of
    unknown cost, is not 0.
    """

    at: datetime | None
    agent_id: UUID | None
    release_id: UUID | None
    status: str | None
    error_class: str | None
    turns: int
    failed: int
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


@dataclass(frozen=True, slots=True)
class CallFigures:
    """Steps of ended turns, by the time of their own end: calls of models and tools, and fallbacks. `operation` is the
    kind of step, `name` the route, the tool or the fallback; `error_class` is "" for success. What they are not broken
    down by is None.

    `failed` are those with an error, without those that raise no alert. The percentages are of the model's context
    window, None where no call says how much it used.
    """

    at: datetime | None
    agent_id: UUID | None
    release_id: UUID | None
    operation: str | None
    name: str | None
    error_class: str | None
    calls: int
    failed: int
    seconds: Histogram
    first_token: Histogram
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal
    context_percent_mean: float | None
    context_percent_max: float | None


def read_turn_figures(
    since: datetime,
    until: datetime,
    *,
    by: Sequence[By] = (),
    agent_id: UUID | None = None,
    release_id: UUID | None = None,
) -> list[TurnFigures]:
    """The figures of turns that ended between the two times, in the order of `by`; without `by` one row, or none where
    no turn ended. One statement, so that no turn is missed or counted twice.

    The range is rounded outwards to whole minutes, beyond two days to hours and beyond 90 days to days.
    """
    raise NotImplementedError


def read_call_figures(
    since: datetime,
    until: datetime,
    *,
    by: Sequence[By] = (),
    agent_id: UUID | None = None,
    release_id: UUID | None = None,
) -> list[CallFigures]:
    """As `read_turn_figures`, of the steps of ended turns that ended between the two times."""
    raise NotImplementedError
