"""The calls of one route that ended in this process and are in no row yet."""

from __future__ import annotations

from agents.domain.circuit_breaker import BreakerPolicy, CallBucket, Outcomes, bucket_start


class CallTally:
    """Counts calls by parts of the window; it never holds more than one window of them. Times are the database's, in
    seconds since 1970."""

    __slots__ = ("_buckets", "_failures_in_row", "_has_success", "_policy", "has_failures")

    def __init__(self, policy: BreakerPolicy) -> None:
        self._policy = policy
        self.clear()

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def clear(self) -> None:
        """Forget all: the route is in another state since."""
        self._buckets: dict[float, list[int]] = {}
        self._failures_in_row = 0
        self._has_success = False
        # Failures or slow calls: then all of it is written at once.
        self.has_failures = False

    def count_success(self, seconds: float, *, slow: bool, ends_row: bool) -> None:
        """A call succeeded. `ends_row`: the row shows failures that it comes after."""
        self._bucket(seconds)[0] += 1
        if slow:
            self._bucket(seconds)[2] += 1
            self.has_failures = True
        self._has_success = self._has_success or ends_row or self._failures_in_row > 0
        self._failures_in_row = 0

    def count_failure(self, seconds: float, *, slow: bool) -> None:
        """A call failed, and its route is to blame."""
        bucket = self._bucket(seconds)
        bucket[0] += 1
        bucket[1] += 1
        bucket[2] += slow
        self._failures_in_row += 1
        self.has_failures = True

    def take(self, generation: int) -> Outcomes:
        """All that was counted, of the route's `generation`; the tally is empty then."""
        buckets = tuple(CallBucket(start, *counts) for start, counts in self._buckets.items())
        outcomes = Outcomes(generation, buckets, self._failures_in_row, self._has_success)
        self.clear()
        return outcomes

    def restore(self, outcomes: Outcomes) -> None:
        """Take back what could not be written, as if it had been counted first."""
        for bucket in outcomes.buckets:
            counts = self._buckets.setdefault(bucket.start, [0, 0, 0])
            for index, number in enumerate((bucket.calls, bucket.failures, bucket.slow)):
                counts[index] += number
        if not self._has_success:
            self._failures_in_row += outcomes.failures_in_row
        self._has_success = self._has_success or outcomes.has_success
        self.has_failures = self.has_failures or any(bucket.failures for bucket in outcomes.buckets)

    def _bucket(self, seconds: float) -> list[int]:
        start = bucket_start(seconds, self._policy)
        if (counts := self._buckets.get(start)) is None:
            oldest = start - self._policy.window_seconds
            self._buckets = {begin: counts for begin, counts in self._buckets.items() if begin > oldest}
            counts = self._buckets[start] = [0, 0, 0]
        return counts
