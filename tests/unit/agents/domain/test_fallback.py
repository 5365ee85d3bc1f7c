"""After a failure: the same route, the next one, or nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.fallback import ONE_ATTEMPT, Attempt, FailedAttempt, GiveUp, Policy, Reason, next_attempt

CHAIN = ("a:1", "b:2", "c:3")
POLICY = Policy(
    attempts=5, attempts_per_route=2, same_route=frozenset({"transient"}), next_route=frozenset({"auth", "bad_request"})
)


def failures(*failed: str) -> list[FailedAttempt]:
    """Each written `route error_class`."""
    return [FailedAttempt(*one.split()) for one in failed]


def test_the_first_attempt_asks_the_first_route() -> None:
    assert next_attempt(CHAIN, [], POLICY) == next_attempt(CHAIN, [], ONE_ATTEMPT) == Attempt(1, "a:1")


@pytest.mark.parametrize("error_class", ["transient", "auth", "unknown"])
def test_where_one_attempt_is_allowed_there_is_no_other(error_class: str) -> None:
    assert next_attempt(CHAIN, [FailedAttempt("a:1", error_class)], ONE_ATTEMPT) == GiveUp(Reason.ATTEMPTS)


def test_a_fault_that_may_pass_is_tried_again_and_then_the_next_route_is() -> None:
    failed = failures("a:1 transient")
    assert next_attempt(CHAIN, failed, POLICY) == Attempt(2, "a:1", "transient")
    failed += failures("a:1 transient")
    assert next_attempt(CHAIN, failed, POLICY) == Attempt(3, "b:2", "transient")


def test_a_fault_of_the_route_goes_to_the_next_at_once() -> None:
    assert next_attempt(CHAIN, failures("a:1 auth"), POLICY) == Attempt(2, "b:2", "auth")
    assert next_attempt(CHAIN, failures("a:1 auth", "b:2 bad_request"), POLICY) == Attempt(3, "c:3", "bad_request")


def test_a_fault_that_every_route_would_have_ends_it() -> None:
    assert next_attempt(CHAIN, failures("a:1 content_filter"), POLICY) == GiveUp(Reason.ERROR_CLASS)


def test_behind_the_last_route_there_is_none() -> None:
    assert next_attempt(CHAIN, failures("a:1 auth", "b:2 auth", "c:3 auth"), POLICY) == GiveUp(Reason.ROUTES)
    assert next_attempt(["a:1"], failures("a:1 auth"), POLICY) == GiveUp(Reason.ROUTES)


def test_the_attempts_are_counted_in_all() -> None:
    failed = failures("a:1 transient", "a:1 transient", "b:2 transient", "b:2 transient", "c:3 transient")
    assert next_attempt(CHAIN, failed[:4], POLICY) == Attempt(5, "c:3", "transient")
    assert next_attempt(CHAIN, failed, POLICY) == GiveUp(Reason.ATTEMPTS)


def test_an_open_route_is_not_asked() -> None:
    assert next_attempt(CHAIN, [], POLICY, open_routes={"a:1"}) == Attempt(1, "b:2")
    assert next_attempt(CHAIN, failures("a:1 transient"), POLICY, open_routes={"a:1", "b:2"}) == Attempt(
        2, "c:3", "transient"
    )
    assert next_attempt(CHAIN, [], POLICY, open_routes=CHAIN) == GiveUp(Reason.ROUTES)


def test_a_route_that_stands_there_twice_is_one() -> None:
    assert next_attempt(["a:1", "a:1"], failures("a:1 auth"), POLICY) == GiveUp(Reason.ROUTES)


routes = st.sampled_from(CHAIN)
classes = st.sampled_from(["transient", "auth", "bad_request", "rate_limit", "unknown"])


def test_after_a_route_that_the_chain_names_no_more_its_first_is_asked() -> None:
    assert next_attempt(CHAIN, failures("z:9 auth"), POLICY) == Attempt(2, "a:1", "auth")


@given(
    chain=st.lists(routes, min_size=1),
    policy=st.builds(Policy, st.integers(1, 8), st.integers(1, 3), st.frozensets(classes), st.frozensets(classes)),
    open_routes=st.frozensets(routes),
    errors=st.lists(classes, min_size=8, max_size=8),
)
def test_whatever_fails_it_ends_within_the_policy_and_never_goes_back(
    chain: list[str], policy: Policy, open_routes: frozenset[str], errors: list[str]
) -> None:
    failed: list[FailedAttempt] = []
    while isinstance(following := next_attempt(chain, failed, policy, open_routes=open_routes), Attempt):
        assert following.number == len(failed) + 1 <= policy.attempts
        assert following.route in set(chain) - open_routes
        assert following.reason == (failed[-1].error_class if failed else "")
        failed.append(FailedAttempt(following.route, errors[len(failed)]))
    asked = [failure.route for failure in failed]
    assert asked == sorted(asked, key=chain.index)
    assert all(asked.count(route) <= policy.attempts_per_route for route in asked)
