"""Shares, sums and quantiles of many windows at once are those of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.duration_buckets import BUCKET_COUNT, DURATION_BOUNDS
from monitoring.alerts.window_formulas import MinuteSums, Percentage, Quantile, Total
from monitoring.figures import Histogram

MINUTES, WINDOW = 6, 3
STARTS = np.arange(0, MINUTES - WINDOW + 1)
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
    columns = {
        "seconds_buckets": [row.buckets for row in rows] or np.zeros((0, BUCKET_COUNT)),
        "min_seconds": [row.min for row in rows],
        "max_seconds": [row.max for row in rows],
    }
    sums = MinuteSums.from_rows(MINUTES, busy, columns)
    for bounded in (True, False):
        computed = Quantile("seconds", share, bounded=bounded).evaluate(sums, STARTS, STARTS + WINDOW)
        for start, value in zip(STARTS.tolist(), computed, strict=True):
            everything = [seconds for values in minutes[start : start + WINDOW] for seconds in values]
            one = histogram(everything)
            expected = Histogram(
                one.count, one.total, one.min if bounded else None, one.max if bounded else None, one.buckets
            ).quantile(share)
            assert (None if np.isnan(value) else value) == (expected if expected is None else pytest.approx(expected))


def test_shares_and_sums_are_those_of_the_minutes_of_the_window() -> None:
    columns = {"failed": [1, 0, 3], "turns": [4, 2, 3], "cost_usd": [0.5, 0.25, 0]}
    sums = MinuteSums.from_rows(MINUTES, [0, 2, 5], columns)
    ends = STARTS + WINDOW
    share = Percentage("failed", "turns").evaluate(sums, STARTS, ends)
    assert share.tolist() == [pytest.approx(100 / 6), 0, 0, 100]
    least = Percentage("failed", "turns", minimum=4).evaluate(sums, STARTS, ends)
    assert [None if np.isnan(value) else value for value in least] == [pytest.approx(100 / 6), None, None, None]
    assert Total(("failed", "turns")).evaluate(sums, STARTS, ends).tolist() == [7, 2, 2, 6]
    assert Total(("cost_usd",), per_hour=True).evaluate(sums, STARTS, ends).tolist() == [15, 5, 5, 0]
