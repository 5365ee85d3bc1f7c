"""Means and quantiles of durations that are only counted in buckets."""

from __future__ import annotations

import pytest

from agents.domain.duration_buckets import BUCKET_COUNT, DURATION_BOUNDS
from monitoring.figures import Histogram


def histogram(*durations: float, extremes: bool = True) -> Histogram:
    buckets = [0] * BUCKET_COUNT
    for duration in durations:
        buckets[sum(bound < duration for bound in DURATION_BOUNDS)] += 1
    least, most = (min(durations), max(durations)) if durations and extremes else (None, None)
    return Histogram(len(durations), sum(durations), least, most, tuple(buckets))


def test_of_nothing_there_is_no_mean_and_no_quantile() -> None:
    assert (histogram().mean, histogram().quantile(0.5)) == (None, None)


def test_a_quantile_is_linear_within_its_bucket() -> None:
    four = histogram(6, 7, 8, 10, extremes=False)
    assert four.mean == 7.75
    assert [four.quantile(share) for share in (0, 0.25, 0.5, 1)] == [5, 6.25, 7.5, 10]


def test_a_quantile_is_never_beyond_the_shortest_and_the_longest() -> None:
    assert [histogram(6, 7).quantile(share) for share in (0, 0.5, 1)] == [6, 6.5, 7]
    assert histogram(3.0).quantile(0.99) == 3.0


def test_beyond_the_last_bound_the_longest_is_all_that_is_known() -> None:
    assert histogram(2000, 4000).quantile(1) == 4000
    assert histogram(2000, 4000, extremes=False).quantile(1) == DURATION_BOUNDS[-1]


@pytest.mark.parametrize("share", [0.5, 0.95, 0.99])
def test_quantiles_of_many_are_near_those_of_the_durations(share: float) -> None:
    durations = [number / 100 for number in range(1, 2001)]
    assert histogram(*durations).quantile(share) == pytest.approx(20 * share, rel=0.05)
