"""Shares, sums and quantiles of many windows at once are those of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.duration_buckets import BUCKET_COUNT, DURATION_BOUNDS
from monitoring.alerts.window_formulas import MinuteSums, Percentage, Quantile, Total
from monitoring.alerts.window_values import Formula
from monitoring.figures import Histogram

MINUTES, WINDOW = 6, 3
STARTS = range(MINUTES - WINDOW + 1)
durations = st.lists(st.floats(0.001, 4000), max_size=4)


def bucket(seconds: float) -> int:
    return next((number for number, bound in enumerate(DURATION_BOUNDS) if seconds <= bound), BUCKET_COUNT - 1)


def histogram(values: Sequence[float]) -> Histogram:
    buckets = tuple(sum(bucket(value) == number for value in values) for number in range(BUCKET_COUNT))
    return Histogram(len(values), sum(values), min(values, default=None), max(values, default=None), buckets)


@given(st.lists(durations, min_size=MINUTES, max_size=MINUTES), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_quantile_is_that_of_the_histogram_of_all_durations_in_the_window(
    minutes: Sequence[Sequence[float]], share: float
) -> None:
    busy = [number for number, values in enumerate(minutes) if values]
    rows = [histogram(minutes[number]) for number in busy]
    columns: dict[str, list[Any]] = {
        "seconds_buckets": [row.buckets for row in rows],
        "min_seconds": [row.min for row in rows],
        "max_seconds": [row.max for row in rows],
    }
    sums = MinuteSums(MINUTES, busy, columns)
    for start in STARTS:
        everything = [seconds for values in minutes[start : start + WINDOW] for seconds in values]
        one = histogram(everything)
        bounded = Quantile("seconds", share, bounded=True).evaluate(sums, start, start + WINDOW)
        assert bounded == one.quantile(share)
        unbounded = Quantile("seconds", share).evaluate(sums, start, start + WINDOW)
        assert unbounded == replace(one, min=None, max=None).quantile(share)
        least = Quantile("seconds", share, minimum=5).evaluate(sums, start, start + WINDOW)
        assert (least is None) == (len(everything) < 5)


def test_shares_and_sums_are_those_of_the_minutes_of_the_window() -> None:
    columns: dict[str, list[Any]] = {
        "failed": [1, 0, 3],
        "turns": [4, 2, 3],
        "cost_usd": [Decimal("0.5"), Decimal("0.25"), Decimal(0)],
    }
    sums = MinuteSums(MINUTES, [0, 2, 5], columns)

    def values(formula: Formula) -> list[float | None]:
        return [formula.evaluate(sums, start, start + WINDOW) for start in STARTS]

    assert values(Percentage("failed", "turns")) == [pytest.approx(100 / 6), 0, 0, 100]
    assert values(Percentage("failed", "turns", minimum=4)) == [pytest.approx(100 / 6), None, None, None]
    assert values(Total(("failed", "turns"))) == [7, 2, 2, 6]
    assert values(Total(("cost_usd",), per_hour=True)) == [15, 5, 5, 0]
