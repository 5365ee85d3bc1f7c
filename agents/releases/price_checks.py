"""The check of prices: where a budget in dollars is, calls whose price nobody knows are refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.llm.installation_prices import read_installation_prices
from agents.releases.route_prices import RoutePrice, has_dollar_budget, price_routes, read_live_routes, unknown_routes
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements

# The number of routes that are listed.
MAX_ROUTES: Final = 20


def unpriced_routes(measurements: Measurements) -> Sequence[RoutePrice]:  # noqa: ARG001
    """The routes of live releases whose price nobody knows, while a budget in dollars is there. One statement without
    one, else three; only then the table of prices is loaded."""
    if not has_dollar_budget():
        return []
    return unknown_routes(price_routes(read_installation_prices(), read_live_routes()))[:MAX_ROUTES]


def evaluate_prices(routes: Sequence[RoutePrice]) -> Sequence[Finding]:
    return [
        Finding(
            Level.WARN,
            f"Nobody knows the price of {row.route}, which {', '.join(row.askers[:3])} may ask: its calls are refused "
            "where a budget in dollars applies",
        )
        for row in routes
    ]


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="prices",
        title="Prices",
        measure=unpriced_routes,
        evaluator=evaluate_prices,
        alarms_when="each model of a live release whose price nobody knows, while a budget in dollars is there",
        remedy="Enter its price under Prices; 0 for a server of your own. A budget in tokens needs no price.",
        readers=frozenset({Reader.OVERVIEW}),
        order=58,
        link=Link("admin:agents_modelprice_changelist"),
        permissions=("agents.view_modelprice",),
    ),
)
