"""The pace that a provider's limits ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.rate_limits import Allowance, Pace, RateLimits, pace


def pace_of(requests: Allowance | None = None, tokens: Allowance | None = None, call_tokens: int = 1) -> Pace | None:
    return pace(RateLimits(requests, tokens, call_tokens), reserve_share=0.1)


@pytest.mark.parametrize(
    "limits",
    [
        RateLimits(),
        RateLimits(Allowance(30, 60, 30)),
        RateLimits(Allowance(7, 60, 53)),
        RateLimits(Allowance(6)),
        RateLimits(Allowance(59, 60, 1), Allowance(80_000, 90_000, 4), call_tokens=500),
        RateLimits(Allowance(1, 1, 0)),  # a limit of one call at a time, which is whole
    ],
)
def test_nobody_waits_while_plenty_remains(limits: RateLimits) -> None:
    assert pace(limits, reserve_share=0.1) is None


def test_at_the_reserve_calls_come_about_as_fast_as_the_limit_fills_up() -> None:
    assert pace_of(Allowance(1, 10, 54)) == Pace(6.0, 54)
    found = pace_of(Allowance(100, 1000, 45))
    assert found is not None
    assert found.interval_seconds == pytest.approx(0.05 * 100 / 90)


def test_the_last_hundredth_of_a_large_limit_is_for_calls_that_are_under_way() -> None:
    assert pace_of(Allowance(10, 1000, 45)) == Pace(45, 45)
    assert pace_of(Allowance(1, 19, 45)) != Pace(45, 45)


def test_the_less_remains_the_slower_they_come() -> None:
    intervals = [one.interval_seconds for left in (6, 4, 3, 2) if (one := pace_of(Allowance(left, 60, 54)))]
    assert intervals == sorted(intervals)
    assert len(intervals) == 4


def test_where_nothing_remains_the_next_call_comes_at_the_reset() -> None:
    assert pace_of(Allowance(0, 60, 12)) == Pace(12, 12)
    assert pace_of(Allowance(0, 60)) == Pace(60, 60)


def test_nobody_waits_for_longer_than_a_minute_on_the_word_of_a_header() -> None:
    assert pace_of(Allowance(0, 14_400, 86_000)) == Pace(60, 60)


def test_tokens_count_by_what_a_call_takes() -> None:
    few = Allowance(5_000, 100_000, 57)
    assert pace_of(tokens=few, call_tokens=1_000) == Pace(57 / 95 * 2.5, 57)
    # One that takes more than remains has to wait.
    assert pace_of(tokens=few, call_tokens=6_000) == Pace(57, 57)


def test_of_two_limits_the_slower_pace_counts() -> None:
    requests, tokens = Allowance(6, 60, 54), Allowance(1_000, 100_000, 60)
    assert pace_of(requests, tokens, call_tokens=1_000) == pace_of(tokens=tokens, call_tokens=1_000)


@given(
    limit=st.integers(1, 1000),
    share=st.floats(0, 1),
    reset=st.floats(0, 100_000),
)
def test_any_limit_gives_a_pace_within_bounds(limit: int, share: float, reset: float) -> None:
    one = pace_of(Allowance(int(limit * share), limit, reset))
    if one is not None:
        assert 0 <= one.interval_seconds <= one.seconds <= 60


@given(limit=st.integers(20, 300), window=st.floats(5, 60))
def test_a_limit_that_becomes_whole_at_once_is_never_exceeded(limit: int, window: float) -> None:
    """One process that asks as fast as it may, from the beginning of a window to its end."""
    now, used = 0.0, 0
    while now < window - 1e-6:
        used += 1
        assert used <= limit
        found = pace_of(Allowance(limit - used, limit, window - now))
        now += found.interval_seconds if found else 0.0
