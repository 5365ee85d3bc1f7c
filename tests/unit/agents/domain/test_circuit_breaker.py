"""The circuit breaker: when it opens, who may probe, when it closes, and that late results change nothing."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agents.domain.circuit_breaker import (
    DEFAULT_POLICY,
    Breaker,
    BreakerPolicy,
    BreakerState,
    CallBucket,
    ForcedState,
    Outcomes,
    Verdict,
    begin_probe,
    block,
    bucket_start,
    count_outcomes,
    force,
    lift,
    pass_probe,
    release_probe,
    resume_allowance,
)

START = datetime(2026, 11, 30, tzinfo=UTC)
LEASE = 20.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ended(
    breaker: Breaker, *, calls: int = 1, failures: int = 0, slow: int = 0, seconds: float = 0, has_success: bool = False
) -> Outcomes:
    start = bucket_start(at(seconds).timestamp(), DEFAULT_POLICY)
    in_row = 0 if failures < calls else failures
    return Outcomes(breaker.generation, (CallBucket(start, calls, failures, slow),), in_row, has_success)


def counted(breaker: Breaker, *, chance: float = 0, policy: BreakerPolicy = DEFAULT_POLICY, **what: Any) -> Breaker:
    now = at(what.get("seconds", 0))
    return count_outcomes(breaker, ended(breaker, **what), now, policy, chance=chance)


def failed(breaker: Breaker, times: int = 1, **what: Any) -> Breaker:
    for _ in range(times):
        breaker = counted(breaker, failures=1, **what)
    return breaker


def opened(**what: Any) -> Breaker:
    return failed(Breaker(), 5, **what)


# --- closed ---


def test_five_failures_in_a_row_open_it() -> None:
    assert failed(Breaker(), 4).state is BreakerState.CLOSED
    breaker = failed(Breaker(), 5)
    assert (breaker.state, breaker.open_until, breaker.generation) == (BreakerState.OPEN, at(15), 1)
    assert breaker.judge(at(14.9)) is Verdict.REFUSE
    assert breaker.refused_until(at(1)) == at(15)
    assert breaker.judge(at(15)) is Verdict.PROBE


def test_a_success_ends_the_row() -> None:
    breaker = counted(failed(Breaker(), 4), has_success=True)
    assert breaker.failures_in_row == 0
    assert failed(breaker, 4).state is BreakerState.CLOSED


def test_failures_of_a_batch_that_follow_its_success_count() -> None:
    breaker = failed(Breaker(), 3)
    batch = Outcomes(0, (), failures_in_row=2, has_success=True)
    assert count_outcomes(breaker, batch, at(0), DEFAULT_POLICY, chance=0).failures_in_row == 2
    batch = replace(batch, has_success=False)
    assert count_outcomes(breaker, batch, at(0), DEFAULT_POLICY, chance=0).state is BreakerState.OPEN


@pytest.mark.parametrize(
    ("what", "opens"),
    [
        ({"calls": 10, "failures": 5}, True),
        ({"calls": 10, "failures": 4}, False),
        ({"calls": 9, "failures": 8}, False),
        ({"calls": 10, "slow": 8}, True),
        ({"calls": 10, "slow": 7}, False),
        ({"calls": 100, "failures": 50}, True),
        ({"calls": 101, "failures": 50}, False),
    ],
)
def test_the_shares_of_the_last_minute_open_it(what: dict[str, Any], opens: bool) -> None:
    assert (counted(Breaker(), **what).state is BreakerState.OPEN) == opens


def test_calls_that_are_a_minute_old_do_not_count() -> None:
    breaker = counted(Breaker(), calls=9, failures=4)
    assert counted(breaker, calls=5, failures=4, seconds=50).state is BreakerState.OPEN
    assert counted(breaker, calls=5, failures=4, seconds=65).state is BreakerState.CLOSED


def test_trouble_is_over_a_minute_after_the_last_failure() -> None:
    breaker = counted(failed(Breaker()), has_success=True)
    assert breaker.has_trouble(at(30), DEFAULT_POLICY)
    assert not breaker.has_trouble(at(66), DEFAULT_POLICY)
    assert not Breaker().has_trouble(at(0), DEFAULT_POLICY)


def test_other_figures_hold_where_they_are_set() -> None:
    policy = BreakerPolicy(failures=2, open_seconds=4, max_open_seconds=6, jitter=0.5, successes=3)
    breaker = failed(Breaker(), 2, policy=policy, chance=1)
    assert breaker.open_until == at(2)
    for number in range(3):
        assert breaker.state is not BreakerState.CLOSED, number
        breaker = probe(breaker, 10)
        breaker = pass_probe(breaker, breaker.generation, policy)
    assert breaker.state is BreakerState.CLOSED


# --- open, half-open ---


def probe(breaker: Breaker, seconds: float) -> Breaker:
    begun = begin_probe(breaker, at(seconds), lease_seconds=LEASE)
    assert begun is not None
    return begun


def test_it_is_open_for_longer_each_time_up_to_the_cap_and_with_a_jitter() -> None:
    breaker, now, lengths = opened(), 0.0, []
    for chance in (0, 1, 0):
        assert breaker.open_until is not None
        lengths.append((breaker.open_until - at(now)).total_seconds())
        now += lengths[-1]
        breaker = failed(probe(breaker, now), seconds=now, chance=chance)
    assert breaker.open_until is not None
    assert [*lengths, (breaker.open_until - at(now)).total_seconds()] == [15, 30, 24, 30]


@given(opens=st.integers(0, 10_000), chance=st.floats(0, 1))
def test_the_time_it_is_open_stays_within_its_bounds(opens: int, chance: float) -> None:
    breaker = failed(Breaker(opens_in_row=opens, failures_in_row=4), chance=chance)
    assert breaker.open_until is not None
    longest = min(30.0, 15.0 * 2 ** min(opens, 5))
    assert 0.8 * longest - 0.001 <= (breaker.open_until - START).total_seconds() <= longest


def test_one_probe_at_a_time_and_a_killed_one_frees_its_place_by_its_lease() -> None:
    breaker = probe(opened(), 15)
    assert (breaker.state, breaker.generation) == (BreakerState.HALF_OPEN, 2)
    assert begin_probe(breaker, at(15 + LEASE - 0.1), lease_seconds=LEASE) is None
    assert breaker.refused_until(at(15)) == at(20)
    second = probe(breaker, 15 + LEASE)
    assert second.generation == 3
    # The first one was only slow, and comes to tell.
    assert pass_probe(second, 2, DEFAULT_POLICY) == second
    assert release_probe(second, 2) == second
    late = replace(ended(second, failures=1), generation=2)
    assert count_outcomes(second, late, at(40), DEFAULT_POLICY, chance=0) == second


def test_two_successes_close_it_and_one_failure_opens_it_again() -> None:
    first = probe(opened(), 15)
    half = pass_probe(first, first.generation, DEFAULT_POLICY)
    assert half.state is BreakerState.HALF_OPEN
    assert half.judge(at(15)) is Verdict.PROBE
    second = probe(half, 16)
    closed = pass_probe(second, second.generation, DEFAULT_POLICY)
    assert (closed.state, closed.opens_in_row, closed.generation) == (BreakerState.CLOSED, 0, 4)
    again = failed(second, seconds=16)
    assert (again.state, again.opens_in_row, again.open_until) == (BreakerState.OPEN, 2, at(46))


def test_a_probe_that_says_nothing_frees_its_place() -> None:
    breaker = probe(opened(), 15)
    assert release_probe(breaker, breaker.generation).judge(at(15)) is Verdict.PROBE


def test_late_results_of_an_old_generation_change_nothing() -> None:
    breaker = opened()
    for late in (Breaker(), replace(breaker, generation=0)):
        outcomes = ended(late, calls=10, failures=10)
        assert count_outcomes(breaker, outcomes, at(1), DEFAULT_POLICY, chance=0) == breaker
    closed = Breaker(generation=7)
    assert (
        count_outcomes(closed, replace(ended(closed, failures=1), generation=6), at(1), DEFAULT_POLICY, chance=0)
        == closed
    )
    assert pass_probe(closed, 6, DEFAULT_POLICY) == closed


# --- blocked and forced ---


def test_a_block_only_grows() -> None:
    breaker = block(Breaker(), at(30))
    assert block(breaker, at(10)) == breaker
    assert block(breaker, at(40)).blocked_until == at(40)
    assert (breaker.judge(at(29)), breaker.judge(at(30))) == (Verdict.REFUSE, Verdict.ADMIT)
    assert breaker.refused_until(at(0)) == at(30)


def test_of_a_block_and_an_open_state_the_later_end_counts() -> None:
    assert block(opened(), at(40)).refused_until(at(1)) == at(40)
    assert block(opened(), at(10)).refused_until(at(1)) == at(15)


def test_forced_open_it_is_not_asked_until_its_end_and_then_probed() -> None:
    breaker = force(Breaker(generation=3), ForcedState.OPEN, at(600))
    assert breaker.generation == 4
    assert (breaker.judge(at(599)), breaker.refused_until(at(5))) == (Verdict.REFUSE, at(600))
    assert begin_probe(breaker, at(599), lease_seconds=LEASE) is None
    assert breaker.judge(at(600)) is Verdict.PROBE


def test_forced_closed_it_is_asked_whatever_happens_until_its_end() -> None:
    breaker = force(opened(), ForcedState.CLOSED, at(600))
    assert failed(breaker, 50) == breaker
    assert breaker.judge(at(1)) is Verdict.ADMIT
    assert failed(breaker, 5, seconds=600).state is BreakerState.OPEN


def test_forced_closed_a_block_of_the_provider_still_holds() -> None:
    breaker = block(force(Breaker(), ForcedState.CLOSED, at(600)), at(30))
    assert breaker.judge(at(1)) is Verdict.REFUSE
    assert breaker.refused_until(at(1)) == at(30)


def test_what_is_lifted_may_be_asked_at_once() -> None:
    assert lift(block(Breaker(), at(30)), at(1)).judge(at(1)) is Verdict.ADMIT
    for breaker in (opened(), force(Breaker(), ForcedState.OPEN, at(600)), probe(opened(), 15)):
        assert lift(breaker, at(1)).judge(at(1)) is Verdict.PROBE
    assert lift(force(Breaker(), ForcedState.CLOSED, at(600)), at(1)) == Breaker(generation=2)


# --- any order of events ---


class Machine(RuleBasedStateMachine):
    """Processes that see any generation do anything at any time."""

    @initialize()
    def begin(self) -> None:
        self.now, self.breaker, self.probes = 0.0, Breaker(), set[int]()

    def move(self, after: Breaker) -> None:
        before, self.breaker = self.breaker, after
        assert after.generation >= before.generation
        if after.state is not before.state:
            assert after.generation > before.generation
        if before.blocked_until is not None and after.blocked_until is not None:
            assert after.blocked_until >= before.blocked_until

    @rule(seconds=st.floats(0.1, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(age=st.integers(0, 3), calls=st.integers(1, 12), failures=st.integers(0, 12), slow=st.integers(0, 12))
    def outcomes(self, age: int, calls: int, failures: int, slow: int) -> None:
        what = ended(self.breaker, calls=calls, failures=min(calls, failures), slow=slow, seconds=self.now)
        late = replace(what, generation=what.generation - age)
        after = count_outcomes(self.breaker, late, at(self.now), DEFAULT_POLICY, chance=0.5)
        if age:
            assert after == self.breaker
        self.move(after)

    @rule()
    def ask(self) -> None:
        verdict = self.breaker.judge(at(self.now))
        begun = begin_probe(self.breaker, at(self.now), lease_seconds=LEASE)
        assert (begun is not None) == (verdict is Verdict.PROBE)
        if begun is not None:
            assert begin_probe(begun, at(self.now), lease_seconds=LEASE) is None
            assert begun.generation not in self.probes
            self.probes.add(begun.generation)
            self.move(begun)

    @rule(age=st.integers(0, 2), says=st.sampled_from(["pass", "release"]))
    def end_probe(self, age: int, says: str) -> None:
        generation = self.breaker.generation - age
        after = (
            pass_probe(self.breaker, generation, DEFAULT_POLICY)
            if says == "pass"
            else release_probe(self.breaker, generation)
        )
        if age:
            assert after == self.breaker
        self.move(after)

    @rule(seconds=st.floats(0, 60))
    def throttle(self, seconds: float) -> None:
        self.move(block(self.breaker, at(self.now + seconds)))

    @rule(state=st.sampled_from(ForcedState), seconds=st.floats(1, 60))
    def force(self, state: ForcedState, seconds: float) -> None:
        self.move(force(self.breaker, state, at(self.now + seconds)))

    @rule()
    def lift(self) -> None:
        self.breaker = lift(self.breaker, at(self.now))

    @invariant()
    def a_refusal_has_an_end_and_nothing_is_refused_for_ever(self) -> None:
        until = self.breaker.refused_until(at(self.now))
        assert (until is None) == (self.breaker.judge(at(self.now)) is not Verdict.REFUSE)
        if until is not None:
            assert at(self.now) < until <= at(self.now + 60)
        assert self.breaker.judge(at(self.now + 120)) is not Verdict.REFUSE

    @invariant()
    def the_window_is_bounded(self) -> None:
        assert len(self.breaker.buckets) <= 13


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=30, stateful_step_count=40)


# --- an outage, by the clock of the design page ---


@dataclass
class Outage:
    """Requests of one route every `every` seconds, over an outage that answers after `hangs` seconds at most."""

    length: float
    every: float = 4.0
    attempts_per_request: int = 1
    chance: Random = field(default_factory=Random)
    breaker: Breaker = field(default_factory=Breaker)
    attempts: list[float] = field(default_factory=list)
    closed_at: float = 0.0

    def play(self) -> None:
        now = 0.0
        while now < self.length + 120:
            for _ in range(self.attempts_per_request):
                if self.ask(now):
                    break
            if self.breaker.state is BreakerState.CLOSED and now > self.length and not self.closed_at:
                self.closed_at = now
            now += self.every

    def ask(self, now: float) -> bool:
        verdict = self.breaker.judge(at(now))
        if verdict is Verdict.REFUSE:
            return False
        if verdict is Verdict.PROBE:
            self.breaker = probe(self.breaker, now)
        self.attempts.append(now)
        works = now >= self.length
        if not works:
            self.breaker = failed(self.breaker, seconds=now, chance=self.chance.random())
        elif verdict is Verdict.PROBE:
            self.breaker = pass_probe(self.breaker, self.breaker.generation, DEFAULT_POLICY)
        else:
            self.breaker = counted(self.breaker, seconds=now, has_success=True)
        return works


@pytest.mark.parametrize("attempts_per_request", [1, 2])
def test_an_outage_of_a_minute_costs_eight_attempts_and_is_over_soon(attempts_per_request: int) -> None:
    for seed in range(200):
        outage = Outage(60, attempts_per_request=attempts_per_request, chance=Random(seed))
        outage.play()
        during = [second for second in outage.attempts if second < 60]
        assert len(during) <= 8, during
        after = next(second for second in outage.attempts if second >= 60)
        assert after - 60 <= 40
        assert outage.closed_at - 60 <= 45


# --- who waits for it ---


@pytest.mark.parametrize(
    ("breaker", "second", "number"),
    [
        (Breaker(), 0, 4),
        (Breaker(), 1.9, 8),
        (Breaker(), 3, 32),
        (Breaker(), 10**9, 64),
        (Breaker(blocked_until=at(5)), 4, 0),
        (Breaker(blocked_until=at(5)), 6, 8),
        (opened(), 1, 0),
        (opened(), 15, 1),
        (Breaker(state=BreakerState.HALF_OPEN, probe_until=at(9)), 1, 0),
        (Breaker(state=BreakerState.HALF_OPEN, probe_until=at(9)), 9, 1),
    ],
)
def test_one_who_waits_may_try_it_and_then_more_and_more_may_ask(breaker: Breaker, second: float, number: int) -> None:
    assert resume_allowance(breaker, at(second), at(0)) == number
