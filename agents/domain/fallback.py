"""What to do when a model call has failed: ask the same route again, ask the next one, wait, or give up.

Which of these may help is a property of the class of the error: `Failure.recovery`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from agents.domain.backoff import Backoff
from agents.domain.failures import Recovery, parse_error_class


@dataclass(frozen=True, slots=True)
class Policy:
    """How often models are asked for one answer, and after which pauses.

    A route is asked `attempts_per_route` times while another one can follow, else `attempts_on_last_route` times; all
    routes together as often as there are routes, and `extra_attempts` more, but no more than `attempts`. A longer pause
    than `patience_seconds` is not spent on a route that another one can replace, and holds no runner's place. A turn
    that waits without one for a route resumes by itself after `wait`, and each further time in a row after twice that.
    """

    attempts: int | None = None
    attempts_per_route: int = 2
    attempts_on_last_route: int = 3
    extra_attempts: int = 2
    backoff: Backoff = field(default_factory=Backoff)
    patience_seconds: float = 5.0
    wait: Backoff = field(default_factory=lambda: Backoff(base_seconds=5, cap_seconds=40))

    def wait_seconds(self, waits: int, *, draw: float, least_seconds: float) -> float:
        """How long a turn waits that has waited so often before, and must wait `least_seconds`: spread by half, up to a
        minute, so that turns which began to wait together do not end it together."""
        bound = self.wait.largest_pause(waits)
        return max(bound, least_seconds) + draw * bound / 2

    def max_attempts(self, routes: int) -> int:
        """The attempts at one answer along a chain of so many routes."""
        return routes + self.extra_attempts if self.attempts is None else self.attempts


# A policy for tests and for models that need none; runners have the default one.
ONE_ATTEMPT = Policy(attempts=1)
# Each route once.
ASK_ONCE = Policy(attempts_per_route=1, attempts_on_last_route=1)


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that failed: the route that was asked, the class of its error, and the seconds that the provider asked
    us to wait."""

    route: str
    error_class: str
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """What holds while the next attempt is planned.

    `open_routes` are those that must not be asked at the moment: their circuit breaker is open, or their provider has
    asked for a pause. `remaining_seconds` is the time in which a pause must fit. `may_retry`: the retry budget allows
    the last route to be asked again. `draw` is a random number from 0 to 1. `wider_routes` take more than the last
    route, if the context was too long for that.
    """

    open_routes: Collection[str] = ()
    remaining_seconds: float = float("inf")
    may_retry: bool = True
    draw: float = 0.0
    wider_routes: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next attempt, after a pause. `number` counts from 1; `reason` is the error class of the attempt before, ""
    for the first."""

    number: int
    route: str
    reason: str = ""
    pause_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Postponed:
    """There is an attempt left, but not now: in `seconds`, or, if that is None, when one of `routes` may be asked
    again. `reason` is the error class of the attempt before, "" where none was made."""

    reason: str
    routes: tuple[str, ...]
    seconds: float | None = None


class Reason(StrEnum):
    """Why there is no further attempt."""

    ATTEMPTS = "attempts"  # there were as many as the policy allows
    ERROR_CLASS = "error_class"  # another attempt would fail, too
    ROUTES = "routes"  # no route is left
    LIMITS = "limits"  # the release's limits allow no more
    RETRY_BUDGET = "retry_budget"  # too many calls of this provider fail at the moment
    DEADLINE = "time"  # the turn would end before
    CONTEXT = "context"  # the context cannot be made smaller


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no further attempt."""

    reason: Reason


Decision = Attempt | Postponed | GiveUp


def next_attempt(
    chain: Sequence[str], failures: Sequence[FailedAttempt], policy: Policy, situation: Situation = Situation()
) -> Decision:
    """The next attempt at one answer after `failures`, oldest first, along the routes of `chain`, which it never goes
    back; or why there is none now, or none at all."""
    # A route that stands in the chain twice is still one.
    routes = tuple(dict.fromkeys(chain))
    if len(failures) >= policy.max_attempts(len(routes)):
        return GiveUp(Reason.ATTEMPTS)
    if not failures:
        return _first(routes, failures, situation)
    last = failures[-1]
    # A route that the chain no longer names, such as one of another release, is not asked again: the chain begins from
    # its start.
    is_in_chain = last.route in routes
    following = routes[routes.index(last.route) + 1 :] if is_in_chain else routes
    match _recovery(last.error_class):
        case Recovery.RETRY if is_in_chain:
            return _retry(failures, following, policy, situation)
        case Recovery.COMPRESS if is_in_chain:
            return _widen_or_compress(failures, following, situation)
        case Recovery.RETRY | Recovery.COMPRESS | Recovery.NEXT_ROUTE | Recovery.REST_CREDENTIAL | Recovery.FALL_BACK:
            return _first(following, failures, situation)
    return GiveUp(Reason.ERROR_CLASS)


def needs_compression(failures: Sequence[FailedAttempt], route: str | None = None) -> bool:
    """Whether the context was too long for `route`, or for any."""
    return any(
        _recovery(failure.error_class) is Recovery.COMPRESS and route in (None, failure.route) for failure in failures
    )


def can_retry(error_class: str) -> bool:
    """Whether the same route may be asked again after an error of this class, as far as the policy allows."""
    return _recovery(error_class) is Recovery.RETRY


def _recovery(error_class: str) -> Recovery | None:
    parsed = parse_error_class(error_class)
    return parsed.failure.recovery if parsed is not None else None


def _retry(
    failures: Sequence[FailedAttempt], following: tuple[str, ...], policy: Policy, situation: Situation
) -> Decision:
    """Ask the last route again if that is allowed and worth the wait; else the `following` ones."""
    last = failures[-1]
    attempts = sum(failure.route == last.route for failure in failures)
    has_next = any(route not in situation.open_routes for route in following)
    if attempts >= (policy.attempts_per_route if has_next else policy.attempts_on_last_route):
        return _first(following, failures, situation, otherwise=Reason.ATTEMPTS)
    if not situation.may_retry:
        return _first(following, failures, situation, otherwise=Reason.RETRY_BUDGET)
    pause = policy.backoff.pause(attempts - 1, draw=situation.draw, floor_seconds=last.retry_after_seconds)
    is_long = pause > policy.patience_seconds
    # A route that is blocked for the time that it asked for itself is free again when that is over.
    is_open = last.route in situation.open_routes and (is_long or last.retry_after_seconds is None)
    if not is_open and not is_long and pause < situation.remaining_seconds:
        return Attempt(len(failures) + 1, last.route, last.error_class, pause)
    if is_open:
        return _first((last.route, *following), failures, situation)
    if is_long and not has_next:
        return Postponed(last.error_class, (last.route,), pause)
    return _first(following if has_next else (), failures, situation, otherwise=Reason.DEADLINE)


def _widen_or_compress(failures: Sequence[FailedAttempt], following: tuple[str, ...], situation: Situation) -> Decision:
    """Ask a wider route, which leaves nothing out; else the last one, with a smaller context, if none was made smaller
    before."""
    last = failures[-1]
    wider = next((r for r in following if r in situation.wider_routes and r not in situation.open_routes), None)
    if wider is not None:
        return Attempt(len(failures) + 1, wider, last.error_class)
    return GiveUp(Reason.ERROR_CLASS) if was_compressed(failures) else _first((last.route,), failures, situation)


def was_compressed(failures: Sequence[FailedAttempt]) -> bool:
    """Whether a route has failed again after the context was made smaller for it."""
    return any(needs_compression(failures[:index], failure.route) for index, failure in enumerate(failures))


def _first(
    routes: tuple[str, ...],
    failures: Sequence[FailedAttempt],
    situation: Situation,
    *,
    otherwise: Reason = Reason.ROUTES,
) -> Decision:
    """An attempt with the first of `routes` that may be asked now; `otherwise` is the reason to give up if there are
    no routes."""
    reason = failures[-1].error_class if failures else ""
    route = next((route for route in routes if route not in situation.open_routes), None)
    if route is not None:
        return Attempt(len(failures) + 1, route, reason)
    return Postponed(reason, routes) if routes else GiveUp(otherwise)
