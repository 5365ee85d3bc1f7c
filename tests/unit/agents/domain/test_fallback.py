"""After a failure: the same route, the next one, a wait, or nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.domain.failures import ErrorClass, Recovery
from agents.domain.fallback import (
    ONE_ATTEMPT,
    Attempt,
    FailedAttempt,
    GiveUp,
    Policy,
    Postponed,
    Reason,
    Situation,
    next_attempt,
)

CHAIN = ("a:1", "b:2", "c:3")
POLICY = Policy()


def failures(*failed: str) -> list[FailedAttempt]:
    """Each written `route error_class [retry_after]`."""
    return [
        FailedAttempt(route, error_class, float(after[0]) if after else None)
        for route, error_class, *after in (one.split() for one in failed)
    ]


def test_the_first_attempt_asks_the_first_route() -> None:
    assert next_attempt(CHAIN, [], POLICY) == next_attempt(CHAIN, [], ONE_ATTEMPT) == Attempt(1, "a:1")


@pytest.mark.parametrize("error_class", ErrorClass)
def test_where_one_attempt_is_allowed_there_is_no_other(error_class: str) -> None:
    assert next_attempt(CHAIN, [FailedAttempt("a:1", error_class)], ONE_ATTEMPT) == GiveUp(Reason.ATTEMPTS)


@pytest.mark.parametrize("error_class", ErrorClass)
def test_what_follows_an_error_is_what_its_class_says(error_class: ErrorClass) -> None:
    expected = {
        Recovery.RETRY: Attempt(2, "a:1", error_class),
        Recovery.COMPRESS: Attempt(2, "a:1", error_class),
        Recovery.NEXT_ROUTE: Attempt(2, "b:2", error_class),
        Recovery.REST_CREDENTIAL: Attempt(2, "b:2", error_class),
        Recovery.FALL_BACK: Attempt(2, "b:2", error_class),
    }.get(error_class.failure.recovery or Recovery.NOTHING, GiveUp(Reason.ERROR_CLASS))
    assert next_attempt(CHAIN, [FailedAttempt("a:1", error_class)], POLICY) == expected


def test_a_class_that_only_a_newer_version_knows_ends_it() -> None:
    assert next_attempt(CHAIN, failures("a:1 overload"), POLICY) == GiveUp(Reason.ERROR_CLASS)


def test_a_route_is_asked_twice_while_another_can_follow_and_the_last_one_three_times() -> None:
    asked, failed = [], failures()
    while isinstance(following := next_attempt(["a:1", "b:2"], failed, Policy(extra_attempts=9)), Attempt):
        asked.append(following.route)
        failed.append(FailedAttempt(following.route, "transient"))
    assert (asked, following) == (["a:1"] * 2 + ["b:2"] * 3, GiveUp(Reason.ATTEMPTS))


@pytest.mark.parametrize(("routes", "expected"), [(1, "aaa"), (2, "aabb"), (3, "aabbc")])
def test_all_routes_together_are_asked_twice_more_than_there_are(routes: int, expected: str) -> None:
    asked, failed = "", failures()
    while isinstance(following := next_attempt(CHAIN[:routes], failed, POLICY), Attempt):
        asked += following.route[0]
        failed.append(FailedAttempt(following.route, "transient"))
    assert asked == expected


def test_the_pauses_are_drawn_below_a_bound_that_doubles() -> None:
    full = Situation(draw=1.0)
    assert next_attempt(["a:1"], failures("a:1 transient"), POLICY, full) == Attempt(2, "a:1", "transient", 0.5)
    assert next_attempt(["a:1"], failures(*["a:1 empty_answer"] * 2), POLICY, full) == Attempt(
        3, "a:1", "empty_answer", 1.0
    )


def test_another_route_is_asked_without_a_pause() -> None:
    assert next_attempt(CHAIN, failures(*["a:1 transient"] * 2), POLICY, Situation(draw=1.0)) == Attempt(
        3, "b:2", "transient"
    )


# --- a provider that asks for a pause ---


def test_what_the_provider_asks_for_is_the_least_of_a_pause() -> None:
    assert next_attempt(CHAIN, failures("a:1 rate_limit 3"), POLICY) == Attempt(2, "a:1", "rate_limit", 3)
    assert next_attempt(CHAIN, failures("a:1 rate_limit 3"), POLICY, Situation(draw=1.0)) == Attempt(
        2, "a:1", "rate_limit", 3.5
    )


def test_nobody_waits_long_where_another_route_can_answer() -> None:
    assert next_attempt(CHAIN, failures("a:1 rate_limit 6"), POLICY) == Attempt(2, "b:2", "rate_limit")
    assert next_attempt(CHAIN, failures("a:1 rate_limit 3"), POLICY, Situation(remaining_seconds=2)) == Attempt(
        2, "b:2", "rate_limit"
    )


def test_a_long_wait_for_the_last_route_holds_no_place() -> None:
    assert next_attempt(["a:1"], failures("a:1 rate_limit 60"), POLICY) == Postponed("rate_limit", ("a:1",), 60)


def test_a_pause_that_does_not_fit_is_none() -> None:
    assert next_attempt(["a:1"], failures("a:1 rate_limit 3"), POLICY, Situation(remaining_seconds=2)) == GiveUp(
        Reason.DEADLINE
    )


# --- routes that must not be asked, and budgets ---


def test_an_open_route_is_not_asked() -> None:
    assert next_attempt(CHAIN, [], POLICY, Situation(open_routes={"a:1"})) == Attempt(1, "b:2")
    both = Situation(open_routes={"a:1", "b:2"})
    assert next_attempt(CHAIN, failures("a:1 transient"), POLICY, both) == Attempt(2, "c:3", "transient")


def test_where_all_are_open_the_attempt_waits_for_one_of_those_that_are_left() -> None:
    closed = Situation(open_routes=CHAIN)
    assert next_attempt(CHAIN, [], POLICY, closed) == Postponed("", CHAIN)
    assert next_attempt(CHAIN, failures("a:1 auth"), POLICY, closed) == Postponed("auth", CHAIN[1:])
    assert next_attempt(CHAIN, failures("a:1 transient"), POLICY, closed) == Postponed("transient", CHAIN)
    assert next_attempt(["a:1"], failures("a:1 context_length"), POLICY, closed) == Postponed(
        "context_length", ("a:1",)
    )


def test_a_route_that_asks_for_a_moment_is_open_for_that_moment_only() -> None:
    closed = Situation(open_routes={"a:1"})
    assert next_attempt(CHAIN, failures("a:1 rate_limit 3"), POLICY, closed) == Attempt(2, "a:1", "rate_limit", 3)
    assert next_attempt(CHAIN, failures("a:1 rate_limit 9"), POLICY, closed) == Attempt(2, "b:2", "rate_limit")


def test_a_route_whose_successors_are_all_open_has_the_attempts_of_a_last_one() -> None:
    others = Situation(open_routes={"b:2", "c:3"})
    assert next_attempt(CHAIN, failures(*["a:1 transient"] * 2), POLICY, others) == Attempt(3, "a:1", "transient")
    assert next_attempt(CHAIN, failures(*["a:1 transient"] * 3), POLICY, others) == Postponed("transient", CHAIN[1:])


def test_without_a_retry_budget_the_next_route_is_asked_and_then_nobody() -> None:
    empty = Situation(may_retry=False)
    assert next_attempt(CHAIN, failures("a:1 transient"), POLICY, empty) == Attempt(2, "b:2", "transient")
    assert next_attempt(["a:1"], failures("a:1 transient"), POLICY, empty) == GiveUp(Reason.RETRY_BUDGET)
    # A smaller context is no retry of a provider in trouble.
    assert next_attempt(["a:1"], failures("a:1 context_length"), POLICY, empty) == Attempt(2, "a:1", "context_length")


def test_a_wider_route_takes_what_is_too_long_and_else_it_is_made_smaller() -> None:
    too_long = "a:1 context_length"
    wider = Situation(wider_routes={"a:1", "c:3"})
    assert next_attempt(CHAIN, failures(too_long), POLICY, wider) == Attempt(2, "c:3", "context_length")
    closed = Situation(wider_routes={"c:3"}, open_routes={"c:3"})
    assert next_attempt(CHAIN, failures(too_long), POLICY, closed) == Attempt(2, "a:1", "context_length")
    # It was not wide enough: now it is made smaller, once.
    both = [too_long, "c:3 context_length"]
    assert next_attempt(CHAIN, failures(*both), POLICY) == Attempt(3, "c:3", "context_length")
    assert next_attempt(CHAIN, failures(*both, "c:3 context_length"), POLICY) == GiveUp(Reason.ERROR_CLASS)


# --- the end ---


def test_the_context_is_compressed_once() -> None:
    failed = failures("a:1 context_length", "a:1 context_length")
    assert next_attempt(CHAIN, failed, POLICY) == GiveUp(Reason.ERROR_CLASS)


def test_behind_the_last_route_there_is_none() -> None:
    assert next_attempt(CHAIN, failures("a:1 auth", "b:2 auth", "c:3 auth"), POLICY) == GiveUp(Reason.ROUTES)
    assert next_attempt(["a:1"], failures("a:1 auth"), POLICY) == GiveUp(Reason.ROUTES)


def test_a_route_that_stands_there_twice_is_one() -> None:
    assert next_attempt(["a:1", "a:1"], failures("a:1 auth"), POLICY) == GiveUp(Reason.ROUTES)


@pytest.mark.parametrize("error_class", ["auth", "transient", "rate_limit", "context_length", "bad_request"])
def test_after_a_route_that_the_chain_names_no_more_its_first_is_asked(error_class: str) -> None:
    """Also where a route is asked once more after such an error: this one is of another release, or was too narrow."""
    failed = [FailedAttempt("z:9", error_class, 1.0)]
    assert next_attempt(CHAIN, failed, POLICY) == Attempt(2, "a:1", error_class)
    blocked = Situation(open_routes=frozenset(CHAIN))
    assert next_attempt(CHAIN, failed, POLICY, blocked) == Postponed(error_class, CHAIN)


routes = st.sampled_from(CHAIN)
waits = st.none() | st.floats(0, 100)
RETRIED = {one.value for one in ErrorClass if one.failure.recovery is Recovery.RETRY}


@given(
    chain=st.lists(routes, min_size=1),
    policy=st.builds(Policy, st.none() | st.integers(1, 8), st.integers(1, 3), st.integers(1, 4), st.integers(0, 4)),
    situation=st.builds(
        Situation,
        st.frozensets(routes),
        st.floats(0, 100),
        st.booleans(),
        st.floats(0, 1, exclude_max=True),
        st.frozensets(routes),
    ),
    errors=st.lists(st.tuples(st.sampled_from(ErrorClass), waits), min_size=8, max_size=8),
)
def test_whatever_fails_it_ends_within_the_policy_and_never_goes_back(
    chain: list[str], policy: Policy, situation: Situation, errors: list[tuple[str, float | None]]
) -> None:
    failed: list[FailedAttempt] = []
    while isinstance(following := next_attempt(chain, failed, policy, situation), Attempt):
        assert following.number == len(failed) + 1 <= policy.max_attempts(len(set(chain)))
        assert following.route in set(chain)
        if not (failed and failed[-1].route == following.route and failed[-1].retry_after_seconds is not None):
            assert following.route not in situation.open_routes
        assert following.reason == (failed[-1].error_class if failed else "")
        assert following.pause_seconds == 0 or following.pause_seconds < situation.remaining_seconds
        if failed and following.route == failed[-1].route and failed[-1].error_class in RETRIED:
            assert following.pause_seconds >= (failed[-1].retry_after_seconds or 0)
        failed.append(FailedAttempt(following.route, *errors[len(failed)]))
    asked = [failure.route for failure in failed]
    assert asked == sorted(asked, key=chain.index)
    # One more for a context that was too long.
    most = max(policy.attempts_per_route, policy.attempts_on_last_route) + 1
    assert all(asked.count(route) <= most for route in asked)
    if isinstance(following, Postponed):
        assert following.seconds is not None or set(following.routes).issubset(situation.open_routes)


# --- waits ---


@pytest.mark.parametrize(
    ("waits", "draw", "least", "seconds"),
    [(0, 0.0, 0.1, 5), (1, 0.0, 0.1, 10), (3, 0.0, 0.1, 40), (99, 1.0, 0.1, 60), (0, 1.0, 0.1, 7.5), (0, 0.0, 30, 30)],
)
def test_a_turn_waits_twice_as_long_each_time(waits: int, draw: float, least: float, seconds: float) -> None:
    assert Policy().wait_seconds(waits, draw=draw, least_seconds=least) == seconds
