"""The retry budget: an outage costs a tenth more calls at most, however many processes share it."""

from __future__ import annotations

import pytest

from agents.domain.fallback import Attempt, FailedAttempt, Policy, Situation, next_attempt
from agents.domain.retry_budget import RetryBudget
from agents.domain.states import Priority

A, OTHER_MODEL, OTHER = "openai:a", "openai:b", "anthropic:c"


def calls_in_an_outage(budget: RetryBudget, answers: int) -> int:
    """How often one process asks a provider that answers nothing, for so many answers."""
    calls = 0
    for _ in range(answers):
        failed: list[FailedAttempt] = []
        while True:
            may_retry = not failed or budget.allows_retry(A, "transient")
            following = next_attempt([A], failed, Policy(), Situation(may_retry=may_retry))
            if not isinstance(following, Attempt):
                break
            if failed:
                budget.take_retry(A, "transient")
            calls += 1
            failed.append(FailedAttempt(A, "transient"))
    return calls


@pytest.mark.parametrize("processes", [1, 4, 20])
def test_an_outage_of_500_calls_costs_a_tenth_more_at_most(processes: int) -> None:
    calls = sum(calls_in_an_outage(RetryBudget(processes), 500 // processes) for _ in range(processes))
    assert 500 < calls <= 550


def test_throttled_retries_cost_less_and_each_provider_has_its_own_bucket() -> None:
    budget = RetryBudget(10)
    assert budget.capacity == 50
    for _ in range(3):
        budget.take_retry(A, "transient")
    assert not budget.allows_retry(OTHER_MODEL, "transient")
    assert budget.allows_retry(A, "rate_limit")
    assert budget.allows_retry(OTHER, "transient")
    assert (budget.tokens(A), budget.tokens(OTHER)) == (8, 50)


def test_the_background_leaves_half_of_it_to_others() -> None:
    budget = RetryBudget(10)
    assert budget.allows_retry(A, "transient", Priority.BACKGROUND)
    budget.take_retry(A, "transient")
    assert not budget.allows_retry(A, "transient", Priority.BACKGROUND)
    assert budget.allows_retry(A, "transient")


def test_successes_fill_it_again_but_not_beyond_its_size() -> None:
    budget = RetryBudget(10)
    budget.take_retry(A, "rate_limit")
    for _ in range(3):
        budget.add_success(A)
    assert budget.tokens(A) == 48
    for _ in range(10):
        budget.add_success(A)
    assert budget.tokens(A) == 50


def test_more_runners_make_it_smaller_and_keep_it_as_full_as_it_was() -> None:
    budget = RetryBudget()
    budget.take_retry(A, "transient")
    budget.take_retry(A, "transient")
    budget.divide(4)
    assert (budget.capacity, budget.tokens(A)) == (125, 118)
    budget.divide(1)
    assert budget.tokens(A) == 472


def test_even_in_a_large_installation_each_process_may_retry_once() -> None:
    budget = RetryBudget(1_000)
    assert budget.allows_retry(A, "transient")
    budget.take_retry(A, "transient")
    assert not budget.allows_retry(A, "rate_limit")


def test_without_a_heartbeat_yet_it_counts_as_one_runner() -> None:
    assert RetryBudget(0).capacity == RetryBudget(1).capacity == 500
