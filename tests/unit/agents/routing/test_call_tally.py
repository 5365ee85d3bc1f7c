"""What a process counts before it writes."""

from __future__ import annotations

from agents.domain.circuit_breaker import BUCKETS, BreakerPolicy, CallBucket, Outcomes
from agents.routing.call_tally import CallTally

POLICY = BreakerPolicy(window_seconds=60)


def test_calls_are_counted_by_parts_of_the_window() -> None:
    tally = CallTally(POLICY)
    for second in (0, 1, 5):
        tally.count_success(second, slow=second == 5, ends_row=False)
    tally.count_failure(6, slow=False)
    assert tally.take(3) == Outcomes(3, (CallBucket(0, 2, 0, 0), CallBucket(5, 2, 1, 1)), failures_in_row=1)
    assert not tally


def test_it_never_holds_more_than_a_window() -> None:
    tally = CallTally(POLICY)
    for second in range(100_000, 110_000):
        tally.count_success(second, slow=False, ends_row=False)
    buckets = tally.take(0).buckets
    assert len(buckets) <= BUCKETS + 1
    assert sum(bucket.calls for bucket in buckets) <= 66


def test_only_a_success_after_a_failure_that_is_known_ends_the_row() -> None:
    tally = CallTally(POLICY)
    tally.count_success(0, slow=False, ends_row=False)
    tally.count_failure(1, slow=False)
    assert tally.take(0).has_success is False
    tally.count_failure(1, slow=False)
    tally.count_success(2, slow=False, ends_row=False)
    tally.count_failure(3, slow=False)
    outcomes = tally.take(0)
    assert (outcomes.has_success, outcomes.failures_in_row) == (True, 1)
    tally.count_success(4, slow=False, ends_row=True)
    assert tally.take(0).has_success


def test_what_could_not_be_written_is_counted_with_what_came_since() -> None:
    tally = CallTally(POLICY)
    tally.count_failure(0, slow=True)
    lost = tally.take(0)
    tally.count_failure(1, slow=False)
    tally.restore(lost)
    assert tally.take(0) == Outcomes(0, (CallBucket(0, 2, 2, 1),), failures_in_row=2)
    tally.count_failure(2, slow=False)
    tally.count_success(2, slow=False, ends_row=False)
    tally.restore(lost)
    assert tally.take(0).failures_in_row == 0
