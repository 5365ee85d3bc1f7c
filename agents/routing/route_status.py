"""What the state of a route means to people: a label, how bad it is, until when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from agents.domain.circuit_breaker import Breaker, BreakerState, ForcedState
from agents.models import RouteHealth


@dataclass(frozen=True, slots=True)
class RouteStatus:
    """`level` is "good", "warn" or "bad"; `until` when it may change by itself, None if nothing is the matter;
    `is_forced`: an operator has set it."""

    label: str
    level: str
    until: datetime | None = None
    reason: str = ""
    is_forced: bool = False


def route_status(route: RouteHealth, now: datetime) -> RouteStatus:
    """The status of `route`."""
    breaker = read_breaker(route)
    if breaker.is_forced(now):
        return RouteStatus(
            f"forced {route.forced}", "warn", route.forced_until, "An operator holds it.", is_forced=True
        )
    if breaker.blocked_until is not None and breaker.blocked_until > now:
        level = "warn" if route.model else "bad"
        return RouteStatus("paused", level, breaker.blocked_until, route.last_error or "Its rate limit is used up.")
    match breaker.state:
        case BreakerState.OPEN:
            until = breaker.refused_until(now)
            return RouteStatus("open" if until else "open, next call tries it", "bad", until, route.last_error)
        case BreakerState.HALF_OPEN:
            return RouteStatus("half open", "warn", breaker.probe_until, route.last_error)
        case BreakerState.CLOSED:
            return _closed_status(route, now)


def _closed_status(route: RouteHealth, now: datetime) -> RouteStatus:
    if route.paced_until is not None and route.paced_until > now and route.pace_seconds is not None:
        return RouteStatus("spaced", "warn", route.paced_until, f"A call each {route.pace_seconds:.1f} s at most.")
    if route.failures_in_row:
        return RouteStatus("closed", "good", None, f"{route.failures_in_row} failed in a row. {route.last_error}")
    return RouteStatus("closed", "good")


def read_breaker(route: RouteHealth) -> Breaker:
    """The part of its breaker that says whether a route may be asked."""
    return Breaker(
        state=BreakerState(route.state),
        open_until=route.open_until,
        probe_until=route.probe_until,
        forced=ForcedState(route.forced) if route.forced else None,
        forced_until=route.forced_until,
        blocked_until=route.blocked_until,
    )
