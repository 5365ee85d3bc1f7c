"""What to do when a model call has failed: ask the same route again, ask the next one, or give up."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Policy:
    """How often a model is asked for one answer: `attempts` in total, `attempts_per_route` for each route.

    After an error of a class in `same_route` the same route is asked again, up to `attempts_per_route`, then the next
    one; after one in `next_route` the next route is asked at once; after any other error the turn gives up.
    """

    attempts: int = 1
    attempts_per_route: int = 1
    same_route: frozenset[str] = frozenset()
    next_route: frozenset[str] = frozenset()


ONE_ATTEMPT = Policy()


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that failed: the route that was asked, and the class of its error."""

    route: str
    error_class: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next attempt. `number` counts from 1; `reason` is the error class of the attempt before, "" for the first."""

    number: int
    route: str
    reason: str = ""


class Reason(StrEnum):
    """Why there is no further attempt."""

    ATTEMPTS = "attempts"  # there were as many as the policy allows
    ERROR_CLASS = "error_class"  # another attempt would fail, too
    ROUTES = "routes"  # no route is left
    LIMITS = "limits"  # the release's limits allow no more


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no further attempt."""

    reason: Reason


def next_attempt(
    chain: Sequence[str], failures: Sequence[FailedAttempt], policy: Policy, *, open_routes: Collection[str] = ()
) -> Attempt | GiveUp:
    """The next attempt at one answer after `failures`, oldest first, along the routes of `chain`; or `GiveUp`.

    `open_routes` are those that must not be asked at the moment: their circuit breaker is open.
    """
    number = len(failures) + 1
    if number > policy.attempts:
        return GiveUp(Reason.ATTEMPTS)
    # A route that stands in the chain twice is still one.
    routes = list(dict.fromkeys(chain))
    if not failures:
        return _first(routes, open_routes, number, "")
    last = failures[-1]
    if last.error_class not in policy.same_route | policy.next_route:
        return GiveUp(Reason.ERROR_CLASS)
    attempts = sum(failure.route == last.route for failure in failures)
    is_same_route = last.error_class in policy.same_route and attempts < policy.attempts_per_route
    # After a route that the chain no longer names, the chain begins from its start.
    start = routes.index(last.route) + (not is_same_route) if last.route in routes else 0
    return _first(routes[start:], open_routes, number, last.error_class)


def _first(routes: Sequence[str], open_routes: Collection[str], number: int, reason: str) -> Attempt | GiveUp:
    route = next((route for route in routes if route not in open_routes), None)
    return Attempt(number, route, reason) if route is not None else GiveUp(Reason.ROUTES)
