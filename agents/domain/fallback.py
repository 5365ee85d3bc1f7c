"""What follows when a model has failed: the same route once more, the next one, or nothing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Policy:
    """How often one answer of a model is asked for: `attempts` in all, `attempts_per_route` of any one route.

    After an error of a class in `same_route` the same route is asked once more, and the next one when it was asked
    often enough; after one in `next_route`, the next one at once. After any other nobody is asked again.
    """

    attempts: int = 1
    attempts_per_route: int = 1
    same_route: frozenset[str] = frozenset()
    next_route: frozenset[str] = frozenset()


ONE_ATTEMPT = Policy()


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """An attempt that has failed."""

    route: str
    error_class: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """The next one. `number` counts from 1; `reason` is the class of the error that made it necessary, "" at first."""

    number: int
    route: str
    reason: str = ""


class Reason(StrEnum):
    """Why nobody is asked again."""

    ATTEMPTS = "attempts"  # there were as many as the policy allows
    ERROR_CLASS = "error_class"  # to ask again would help nobody
    ROUTES = "routes"  # no route is left
    LIMITS = "limits"  # the release's limits allow no more


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: Reason


def next_attempt(
    chain: Sequence[str], failures: Sequence[FailedAttempt], policy: Policy, *, open_routes: Collection[str] = ()
) -> Attempt | GiveUp:
    """What to try after these `failures` of one answer, oldest first, along the routes of `chain`.

    `open_routes` are those that nobody may ask just now: their breaker is open.
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
    same = last.error_class in policy.same_route and attempts < policy.attempts_per_route
    # One that the chain does not name any more has all of it before itself.
    start = routes.index(last.route) + (not same) if last.route in routes else 0
    return _first(routes[start:], open_routes, number, last.error_class)


def _first(routes: Sequence[str], open_routes: Collection[str], number: int, reason: str) -> Attempt | GiveUp:
    route = next((route for route in routes if route not in open_routes), None)
    return Attempt(number, route, reason) if route is not None else GiveUp(Reason.ROUTES)
