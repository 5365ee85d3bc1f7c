"""Pauses that become longer where retries are in vain, within bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agents.domain.retry_adaptation import MAX_FACTOR, RetryAdaptation

A, OTHER_MODEL, OTHER = "openai:a", "openai:b", "anthropic:c"


def test_retries_in_vain_stretch_the_pauses_of_their_provider() -> None:
    adaptation = RetryAdaptation()
    assert adaptation.factor(A) == 1
    adaptation.record_retry(A, succeeded=False)
    assert adaptation.factor(OTHER_MODEL) == adaptation.factor(A) == 1.2
    assert adaptation.factor(OTHER) == 1


def test_it_is_forgotten_when_retries_go_well_again() -> None:
    adaptation = RetryAdaptation()
    for succeeded in [False] * 20 + [True] * 30:
        adaptation.record_retry(A, succeeded=succeeded)
    assert adaptation.factor(A) == 1


@given(st.lists(st.booleans()))
def test_it_stays_within_its_bounds(outcomes: list[bool]) -> None:
    adaptation = RetryAdaptation()
    for succeeded in outcomes:
        adaptation.record_retry(A, succeeded=succeeded)
        assert 1 <= adaptation.factor(A) <= MAX_FACTOR


def test_it_can_be_switched_off() -> None:
    adaptation = RetryAdaptation(is_on=False)
    adaptation.record_retry(A, succeeded=False)
    assert adaptation.factor(A) == 1
