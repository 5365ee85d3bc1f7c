"""The circuit breaker of a route to a model: its states, and what moves it from one to another.

Pure: a breaker is a value, the time and the chance of a jitter are arguments. Rows hold it, and whoever moves it writes
the new value only if nobody was first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, StrEnum, auto

# The window of calls is counted in so many buckets.
BUCKETS = 12
# How many of the turns that wait for a route resume in the first second after it has closed, and in any later one.
FIRST_RESUMED = 4
MAX_RESUMED = 64
# While a probe is under way: how soon to look again, in seconds. It mostly ends long before its lease.
PROBE_LOOK_SECONDS = 5.0


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class ForcedState(StrEnum):
    """What an operator has set, for a time."""

    OPEN = "open"
    CLOSED = "closed"


class Verdict(Enum):
    """Whether a route may be asked now."""

    ADMIT = auto()
    PROBE = auto()  # by one caller, who has to hold the lease of the probe
    REFUSE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens, and how it closes.

    It opens after `failures` in a row, or if of at least `min_calls` in `window_seconds` the share `failed_share` has
    failed or `slow_share` was slow. It is open for `open_seconds`, doubled with each further time in a row up to
    `max_open_seconds`, less up to `jitter`. It closes after `successes` of probes.
    """

    failures: int = 5
    window_seconds: float = 60
    min_calls: int = 10
    failed_share: float = 0.5
    slow_share: float = 0.8
    open_seconds: float = 15
    max_open_seconds: float = 30
    jitter: float = 0.2
    successes: int = 2


DEFAULT_POLICY = BreakerPolicy()


@dataclass(frozen=True, slots=True)
class CallBucket:
    """The calls that ended in a part of the window; `start` is in seconds since 1970."""

    start: float
    calls: int = 0
    failures: int = 0
    slow: int = 0

    def __add__(self, other: CallBucket) -> CallBucket:
        return CallBucket(self.start, self.calls + other.calls, self.failures + other.failures, self.slow + other.slow)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Ordinary calls of one process that ended, of one `generation`. `failures_in_row` are those since its last
    success; `has_success`: one of them succeeded after failures that the process knew of."""

    generation: int
    buckets: tuple[CallBucket, ...] = ()
    failures_in_row: int = 0
    has_success: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """The state of a route. Every move from one state to another raises `generation`, and so does every lease of a
    probe: what a call of an older generation has to say changes nothing.

    `probe_until` is the end of the lease of the probe that is under way, `blocked_until` until when the provider does
    not want to be asked, whatever the state.
    """

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    failures_in_row: int = 0
    opens_in_row: int = 0
    probe_successes: int = 0
    open_until: datetime | None = None
    probe_until: datetime | None = None
    forced: ForcedState | None = None
    forced_until: datetime | None = None
    blocked_until: datetime | None = None
    buckets: tuple[CallBucket, ...] = ()

    def is_forced(self, now: datetime) -> bool:
        """Whether an operator's setting holds."""
        return self.forced is not None and _is_ahead(self.forced_until, now)

    def judge(self, now: datetime) -> Verdict:
        """Whether the route may be asked now."""
        if _is_ahead(self.blocked_until, now):
            return Verdict.REFUSE
        if self.is_forced(now):
            return Verdict.REFUSE if self.forced is ForcedState.OPEN else Verdict.ADMIT
        match self.state:
            case BreakerState.CLOSED:
                return Verdict.ADMIT
            case BreakerState.OPEN:
                return Verdict.REFUSE if _is_ahead(self.open_until, now) else Verdict.PROBE
            case BreakerState.HALF_OPEN:
                return Verdict.REFUSE if _is_ahead(self.probe_until, now) else Verdict.PROBE

    def refused_until(self, now: datetime) -> datetime | None:
        """When a route that is refused may be asked again, at the earliest; None if it may be asked now."""
        if self.judge(now) is not Verdict.REFUSE:
            return None
        ends = [self.blocked_until]
        if self.is_forced(now):
            ends += [self.forced_until] if self.forced is ForcedState.OPEN else []
        elif self.state is BreakerState.OPEN:
            ends.append(self.open_until)
        elif self.state is BreakerState.HALF_OPEN and self.probe_until is not None:
            ends.append(min(self.probe_until, now + timedelta(seconds=PROBE_LOOK_SECONDS)))
        return max(end for end in ends if end is not None)

    def has_trouble(self, now: datetime, policy: BreakerPolicy) -> bool:
        """Whether anything is to be said of it: it is not closed, forced, blocked, or shows failures or slow calls."""
        return (
            self.state is not BreakerState.CLOSED
            or self.failures_in_row > 0
            or self.is_forced(now)
            or _is_ahead(self.blocked_until, now)
            or any(bucket.failures or bucket.slow for bucket in recent(self.buckets, now, policy))
        )


def bucket_start(seconds: float, policy: BreakerPolicy) -> float:
    """The start of the bucket in which a call counts that ends at `seconds` since 1970."""
    width = policy.window_seconds / BUCKETS
    return seconds // width * width


def recent(buckets: Iterable[CallBucket], now: datetime, policy: BreakerPolicy) -> list[CallBucket]:
    """Those of `buckets` that are in the window."""
    begin = now.timestamp() - policy.window_seconds
    return [bucket for bucket in buckets if bucket.start > begin]


def count_outcomes(
    breaker: Breaker, outcomes: Outcomes, now: datetime, policy: BreakerPolicy, *, chance: float
) -> Breaker:
    """The breaker after ordinary calls, or probes that failed, have ended. `chance` from 0 to 1 is the jitter's."""
    if outcomes.generation != breaker.generation or breaker.is_forced(now) or breaker.state is BreakerState.OPEN:
        return breaker
    if breaker.state is BreakerState.HALF_OPEN:
        has_failed = any(bucket.failures for bucket in outcomes.buckets)
        return _open(breaker, now, policy, chance) if has_failed else breaker
    in_row = outcomes.failures_in_row + (0 if outcomes.has_success else breaker.failures_in_row)
    buckets = _merge(recent([*breaker.buckets, *outcomes.buckets], now, policy))
    counted = replace(breaker, failures_in_row=in_row, buckets=buckets)
    return _open(counted, now, policy, chance) if _is_tripped(counted, policy) else counted


def begin_probe(breaker: Breaker, now: datetime, *, lease_seconds: float) -> Breaker | None:
    """The breaker with the caller's probe under way, whose generation is the probe's; None if no probe is due."""
    if breaker.judge(now) is not Verdict.PROBE:
        return None
    return replace(
        breaker,
        state=BreakerState.HALF_OPEN,
        generation=breaker.generation + 1,
        open_until=None,
        probe_until=now + timedelta(seconds=lease_seconds),
    )


def pass_probe(breaker: Breaker, generation: int, policy: BreakerPolicy) -> Breaker:
    """The breaker after the probe of `generation` had its first token: closed, or ready for the next probe."""
    if generation != breaker.generation or breaker.state is not BreakerState.HALF_OPEN:
        return breaker
    successes = breaker.probe_successes + 1
    if successes >= policy.successes:
        return _close(breaker)
    return replace(breaker, probe_successes=successes, probe_until=None)


def release_probe(breaker: Breaker, generation: int) -> Breaker:
    """The breaker after the probe of `generation` ended and says nothing: the next one may begin."""
    if generation != breaker.generation or breaker.state is not BreakerState.HALF_OPEN:
        return breaker
    return replace(breaker, probe_until=None)


def block(breaker: Breaker, until: datetime) -> Breaker:
    """The breaker of a route that its provider does not want to be asked for `until`, or longer by an older word."""
    old = breaker.blocked_until
    return breaker if old is not None and old >= until else replace(breaker, blocked_until=until)


def force(breaker: Breaker, state: ForcedState, until: datetime) -> Breaker:
    """The breaker that an operator holds in `state` until then. One that was open is then probed, one that was closed
    begins anew."""
    if state is ForcedState.CLOSED:
        return replace(_close(breaker), forced=state, forced_until=until)
    held = replace(_close(breaker), state=BreakerState.OPEN, open_until=until)
    return replace(held, forced=state, forced_until=until)


def lift(breaker: Breaker, now: datetime) -> Breaker:
    """The breaker without what keeps it from being asked: what was forced, blocked or open. An open one is probed."""
    lifted = replace(breaker, generation=breaker.generation + 1, forced=None, forced_until=None, blocked_until=None)
    if lifted.state is BreakerState.CLOSED:
        return lifted
    return replace(lifted, state=BreakerState.OPEN, open_until=now, probe_until=None, probe_successes=0)


def resume_allowance(breaker: Breaker, now: datetime, changed_at: datetime) -> int:
    """How many of the turns that wait for a route may resume now, each second: none while it is refused, one where it
    is to be tried, and from the moment that it may be asked freely twice as many each second. `changed_at` is when its
    state changed."""
    match breaker.judge(now):
        case Verdict.REFUSE:
            return 0
        case Verdict.PROBE:
            return 1
        case Verdict.ADMIT:
            blocked_until = breaker.blocked_until
            free_at = max(changed_at, blocked_until) if blocked_until is not None else changed_at
            # The exponent is bounded, as a route may be free for weeks.
            doublings = min(max(0, int((now - free_at).total_seconds())), 16)
            return min(FIRST_RESUMED << doublings, MAX_RESUMED)


def _is_ahead(moment: datetime | None, now: datetime) -> bool:
    return moment is not None and moment > now


def _merge(buckets: Iterable[CallBucket]) -> tuple[CallBucket, ...]:
    merged: dict[float, CallBucket] = {}
    for bucket in buckets:
        merged[bucket.start] = merged[bucket.start] + bucket if bucket.start in merged else bucket
    return tuple(merged[start] for start in sorted(merged))


def _is_tripped(breaker: Breaker, policy: BreakerPolicy) -> bool:
    if breaker.failures_in_row >= policy.failures:
        return True
    total = sum(breaker.buckets, start=CallBucket(0))
    return total.calls >= policy.min_calls and (
        total.failures >= policy.failed_share * total.calls or total.slow >= policy.slow_share * total.calls
    )


def _open(breaker: Breaker, now: datetime, policy: BreakerPolicy, chance: float) -> Breaker:
    # The exponent is bounded: a route that is gone for weeks must not make the number overflow.
    doubled = policy.open_seconds * 2 ** min(breaker.opens_in_row, 16)
    seconds = min(policy.max_open_seconds, doubled) * (1 - policy.jitter * chance)
    return replace(
        breaker,
        state=BreakerState.OPEN,
        generation=breaker.generation + 1,
        failures_in_row=0,
        opens_in_row=breaker.opens_in_row + 1,
        probe_successes=0,
        open_until=now + timedelta(seconds=seconds),
        probe_until=None,
        buckets=(),
    )


def _close(breaker: Breaker) -> Breaker:
    """Closed, as if it had never failed; what the provider wants still holds."""
    return Breaker(generation=breaker.generation + 1, blocked_until=breaker.blocked_until)
