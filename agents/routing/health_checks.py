"""Checks of the routes to models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import Q
from django.db.models.functions import Now

from agents.domain.circuit_breaker import BreakerState
from agents.domain.context_window import UNKNOWN_WINDOW
from agents.health_checks import turn_figures
from agents.models import RouteHealth
from agents.routing.route_status import RouteStatus, route_status
from agents.routing.route_tokens import UNKNOWN
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements

# The number of routes that are listed.
MAX_ROUTES: Final = 20
_REMEDY: Final = (
    "Its provider does not answer as it should: its status page, and the reason on the route's page, say more. Turns "
    "go to the next route of their release; Force open spares them the tries, Release has the route tried at once."
)
_FORCED_REMEDY: Final = "An operator holds it. It ends by itself, or with Release on the route's page."
_CREDENTIAL_REMEDY: Final = (
    "The provider refuses our key or our account: put in a key that works and start again, or pay; then Release."
)


@dataclass(frozen=True, slots=True)
class TroubledRoute:
    """A route that is not asked freely; `is_credential`: all models of a credential."""

    id: int
    name: str
    is_credential: bool
    status: RouteStatus


def troubled_routes(measurements: Measurements) -> list[TroubledRoute]:
    """The routes that are not asked freely, from one statement."""
    condition = ~Q(state=BreakerState.CLOSED.value) | Q(forced_until__gt=Now()) | Q(blocked_until__gt=Now())
    return [
        TroubledRoute(route.pk, str(route), not route.model, route_status(route, measurements.now))
        for route in RouteHealth.objects.filter(condition)[:MAX_ROUTES]
    ]


def evaluate_routes(routes: Sequence[TroubledRoute]) -> Sequence[Finding]:
    return [
        Finding(
            Level.BAD if route.is_credential else Level.WARN,
            f"The credential of {route.name.partition(':')[0]} is not used: {route.status.reason}"
            if route.is_credential
            else f"The route {route.name} is {route.status.label}: {route.status.reason}".rstrip(": "),
            remedy=_remedy(route),
            link=Link("admin:agents_routehealth_change", args=(route.id,)),
        )
        for route in routes
        if route.status.level != "good"
    ]


def _remedy(route: TroubledRoute) -> str:
    """What to do; "" for what holds of any route."""
    if route.is_credential:
        return _CREDENTIAL_REMEDY
    return _FORCED_REMEDY if route.status.is_forced else ""


def route_states(measurements: Measurements) -> tuple[int, Counter[str]]:
    """How many routes there are, and how many of them have which of the states that need somebody. One statement more
    than those."""
    labels = Counter(route.status.label for route in measurements.get(troubled_routes) if route.status.level != "good")
    return RouteHealth.objects.count(), labels


def evaluate_states(states: tuple[int, Counter[str]]) -> Sequence[Finding]:
    number, labels = states
    if not labels:
        return [Finding(Level.GOOD, "all are asked freely" if number else "none was asked yet", f"{number:,}")]
    return [
        Finding(Level.WARN, ", ".join(f"{count} {label}" for label, count in sorted(labels.items())), f"{number:,}")
    ]


@dataclass(frozen=True, slots=True)
class UnknownWindow:
    """A route of live releases whose model has a context window that nobody knows."""

    id: int
    name: str


def unknown_windows(measurements: Measurements) -> list[UnknownWindow]:
    """Those of the routes that were asked, from one statement."""
    live = {
        route
        for release in measurements.get(turn_figures).live_releases
        if isinstance(release.configuration, dict)
        for route in release.configuration.get("model_chain", ())
    }
    routes = RouteHealth.objects.filter(context_window=UNKNOWN).exclude(model="")
    return [UnknownWindow(route.pk, str(route)) for route in routes[:MAX_ROUTES] if str(route) in live]


def evaluate_windows(routes: Sequence[UnknownWindow]) -> Sequence[Finding]:
    return [
        Finding(
            Level.WARN,
            f"The context window of {route.name} is not known: it counts as {UNKNOWN_WINDOW:,} tokens",
            remedy=f"Set it as BANDSTAND_DIALECT={route.name}=+window=32768, with the number that its server is "
            "started with, and start again.",
            link=Link("admin:agents_routehealth_change", args=(route.id,)),
        )
        for route in routes
    ]


def evaluate_ready(routes: Sequence[TroubledRoute]) -> Sequence[Finding]:
    """One finding for all: `/ready` is public, and one route that is open makes nothing fail."""
    return [Finding(Level.WARN, f"{len(routes)} not asked freely")] if routes else []


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="routes",
        title="Routes to models",
        measure=troubled_routes,
        evaluator=evaluate_routes,
        alarms_when="a route to a model is open, half open, paused or forced; red for a credential that was refused",
        remedy=_REMEDY,
        readers=frozenset({Reader.OVERVIEW}),
        order=55,
        link=Link("admin:agents_routehealth_changelist"),
        permissions=("agents.view_routehealth",),
    ),
    Check(
        name="route_states",
        title="Routes",
        measure=route_states,
        evaluator=evaluate_states,
        alarms_when="a route is open, half open, paused or forced",
        remedy=_REMEDY,
        readers=frozenset({Reader.OVERVIEW}),
        order=146,
        link=Link("admin:agents_routehealth_changelist"),
        permissions=("agents.view_routehealth",),
        is_metric=True,
        detailed_by="routes",
    ),
    Check(
        name="context_windows",
        title="Context windows",
        measure=unknown_windows,
        evaluator=evaluate_windows,
        alarms_when="a model of a live release has a context window that nobody knows",
        remedy=f"It counts as {UNKNOWN_WINDOW:,} tokens, so that more of a long conversation is left out than needed. "
        "BANDSTAND_DIALECT sets it.",
        readers=frozenset({Reader.OVERVIEW}),
        order=57,
        link=Link("admin:agents_routehealth_changelist"),
        permissions=("agents.view_routehealth", "agents.view_turn", "agents.view_runner"),
    ),
    Check(
        name="model_routes",
        title="Routes to models",
        measure=troubled_routes,
        evaluator=evaluate_ready,
        alarms_when="never; it names how many routes are not asked freely",
        remedy=_REMEDY,
        readers=frozenset({Reader.READY}),
        order=56,
        link=Link("admin:agents_routehealth_changelist"),
    ),
)
