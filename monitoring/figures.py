"""Figures of ended turns and of their calls, over any range of time: of what is counted, and of what will be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from agents.domain.duration_buckets import DURATION_BOUNDS
from agents.domain.failures import SILENT_CLASSES
from agents.journal.queries import fetch
from agents.journal.rollup_sql import CALLS, TURNS, Rollup, read_statement
from agents.models import RollupWidth
from foundation.clock import now
from monitoring.figure_ranges import cover


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
        upper = DURATION_BOUNDS[number] if number < len(DURATION_BOUNDS) else max(lower, self.max or 0.0)
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

    The range is that of `covered_range`; one that reaches the present contains what ends meanwhile. Raises `ValueError`
    for what turns are not broken down by.
    """
    rows = _read(TURNS, _TURN_COUNTS, since, until, by=by, agent_id=agent_id, release_id=release_id)
    return [_turn_figures(row) for row in rows]


def read_call_figures(
    since: datetime,
    until: datetime,
    *,
    by: Sequence[By] = (),
    agent_id: UUID | None = None,
    release_id: UUID | None = None,
) -> list[CallFigures]:
    """The figures of steps that ended between the two times, and whose turns have ended, in the order of `by`; without
    `by` one row, or none where no step did. One statement.

    The range is that of `covered_range`; one that reaches the present contains what ends meanwhile. Raises `ValueError`
    for what steps are not broken down by.
    """
    rows = _read(CALLS, _CALL_COUNTS, since, until, by=by, agent_id=agent_id, release_id=release_id)
    return [_call_figures(row) for row in rows]


_QUIET: Final = "error_class <> ALL(%(quiet)s)"
_TURN_COUNTS: Final = {
    "failed": f"coalesce(sum(turns) FILTER (WHERE status IN ('failed', 'expired') AND {_QUIET}), 0)::bigint",
    "completed": "coalesce(sum(turns) FILTER (WHERE status = 'completed'), 0)::bigint",
}
_CALL_COUNTS: Final = {"failed": f"coalesce(sum(calls) FILTER (WHERE error_class <> '' AND {_QUIET}), 0)::bigint"}
_WIDTHS: Final = {By.MINUTE: RollupWidth.MINUTE, By.HOUR: RollupWidth.HOUR, By.DAY: RollupWidth.DAY}
_COLUMNS: Final = {
    By.AGENT: "agent_id",
    By.RELEASE: "release_id",
    By.STATUS: "status",
    By.ERROR_CLASS: "error_class",
    By.OPERATION: "operation",
    By.NAME: "name",
}


def _read(
    rollup: Rollup,
    counts: Mapping[str, str],
    since: datetime,
    until: datetime,
    *,
    by: Sequence[By],
    agent_id: UUID | None,
    release_id: UUID | None,
) -> Iterator[dict[str, Any]]:
    groups = {name: expression for one in by for name, expression in [_group(one, rollup)]}
    if len(groups) < len(by):
        raise ValueError(f"No figures by {', '.join(by)}.")
    spans = cover(since, until, now=now(), widest=next((_WIDTHS[one] for one in by if one in _WIDTHS), RollupWidth.DAY))
    if not spans:
        return
    params = {
        "widths": [span.width.value for span in spans],
        "firsts": [span.first for span in spans],
        "lasts": [span.last for span in spans],
        "since": spans[0].first,
        "until": spans[-1].last,
        "agent": agent_id,
        "release": release_id,
        "quiet": list(SILENT_CLASSES),
    }
    names = (*groups, *counts, *rollup.counters)
    for values in fetch(read_statement(rollup, groups=groups, counts=counts), params):
        row = dict(zip(names, values, strict=True))
        # A sum of nothing is null.
        if row[next(iter(rollup.counters))]:
            yield row


def _group(by: By, rollup: Rollup) -> tuple[str, str]:
    """The name of a column of the answer, and its expression."""
    if by in _WIDTHS:
        return "at", f"date_trunc('{_WIDTHS[by].value}', at, 'UTC')"
    column = _COLUMNS[by]
    if column not in rollup.keys:
        raise ValueError(f"No figures by {by}.")
    return column, column


def _turn_figures(row: Mapping[str, Any]) -> TurnFigures:
    return TurnFigures(
        at=row.get("at"),
        agent_id=row.get("agent_id"),
        release_id=row.get("release_id"),
        status=row.get("status"),
        error_class=row.get("error_class"),
        turns=row["turns"],
        failed=row["failed"],
        completed=row["completed"],
        seconds=_histogram(row, "seconds", row["min_seconds"], row["max_seconds"]),
        queue=_histogram(row, "queue_seconds"),
        first_token=_histogram(row, "first_token_seconds"),
        added=_histogram(row, "added_seconds"),
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost_usd=row["cost_usd"],
        cost_unknown=row["cost_unknown"],
        fallbacks=row["fallbacks"],
    )


def _call_figures(row: Mapping[str, Any]) -> CallFigures:
    known = row["context_calls"]
    return CallFigures(
        at=row.get("at"),
        agent_id=row.get("agent_id"),
        release_id=row.get("release_id"),
        operation=row.get("operation"),
        name=row.get("name"),
        error_class=row.get("error_class"),
        calls=row["calls"],
        failed=row["failed"],
        seconds=_histogram(row, "seconds", row["min_seconds"], row["max_seconds"]),
        first_token=_histogram(row, "first_token_seconds"),
        input_tokens=row["input_tokens"],
        output_tokens=row["output_tokens"],
        cost_usd=row["cost_usd"],
        context_percent_mean=row["context_percent"] / known if known else None,
        context_percent_max=row["max_context_percent"] if known else None,
    )


def _histogram(
    row: Mapping[str, Any], total: str, shortest: float | None = None, longest: float | None = None
) -> Histogram:
    buckets = tuple(row[f"{total.removesuffix('_seconds')}_buckets"])
    return Histogram(sum(buckets), row[total], shortest, longest, buckets)
