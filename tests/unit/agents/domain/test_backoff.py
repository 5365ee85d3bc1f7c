"""Pauses between attempts: full jitter below a bound that doubles, and a provider's own wait as its floor."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.domain.backoff import Backoff


def test_the_bound_doubles_up_to_the_cap() -> None:
    assert [Backoff().largest_pause(retries) for retries in range(8)] == [0.5, 1, 2, 4, 8, 16, 20, 20]
    assert Backoff().largest_pause(10_000) == 20


@given(retries=st.integers(0, 100), draw=st.floats(0, 1), floor=st.none() | st.floats(0, 86_400))
def test_a_pause_is_anything_from_the_floor_to_the_bound_above_it(
    retries: int, draw: float, floor: float | None
) -> None:
    backoff = Backoff()
    pause = backoff.pause(retries, draw=draw, floor_seconds=floor)
    assert (floor or 0) <= pause <= (floor or 0) + backoff.largest_pause(retries)
    assert backoff.pause(retries, draw=0, floor_seconds=floor) == (floor or 0)


def test_a_base_of_zero_pauses_for_what_the_provider_asks_only() -> None:
    assert Backoff(base_seconds=0).pause(5, draw=1.0) == 0
    assert Backoff(base_seconds=0).pause(5, draw=1.0, floor_seconds=7) == 7
