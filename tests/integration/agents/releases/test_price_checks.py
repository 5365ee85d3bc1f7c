"""Where a budget in dollars is, models whose price nobody knows are reported: on the start page and by readiness."""

from __future__ import annotations

import pytest
from django.utils import timezone

from agents.llm.installation_prices import read_installation_prices
from agents.models import Agent, Budget, ModelPrice, Release
from agents.releases.price_checks import evaluate_prices, unpriced_routes
from agents.releases.route_prices import price_routes, read_live_routes, unknown_routes
from health_checks.run import Measurements
from tests.support.people import agent

pytestmark = pytest.mark.django_db


def live(slug: str, *routes: str, utility: tuple[str, ...] = ()) -> Agent:
    one = agent(slug)
    assert one.live_release is not None
    stored = {**one.live_release.configuration, "model_chain": list(routes), "utility_models": list(utility)}
    one.live_release = Release.objects.create(agent=one, number=2, configuration=stored)
    one.save()
    return one


def findings() -> list[str]:
    measurements = Measurements(timezone.now())
    return [finding.message for finding in evaluate_prices(unpriced_routes(measurements))]


def test_unknown_prices_matter_where_dollars_are_limited() -> None:
    live("support", "openai:mine", "openai:gpt-4o", utility=("openai:small",))
    assert findings() == []
    budget = Budget.objects.create(subject="everybody", unit="tokens", period="month", amount=1)
    assert findings() == []
    budget.unit = "usd"
    budget.save()
    first, second = findings()
    assert first.startswith("Nobody knows the price of openai:mine, which support may ask")
    assert "openai:small" in second
    # Free is known.
    ModelPrice.objects.create(route="openai:*", input=0, output=0, valid_from=timezone.now())
    assert findings() == []


def test_each_route_is_priced_once_with_all_who_ask_it() -> None:
    live("one", "openai:mine", "offline:")
    live("two", "openai:mine", "openai:gpt-4o")
    priced = price_routes(read_installation_prices(), read_live_routes())
    assert [(row.route, row.askers, row.source) for row in priced if row.route != "offline:"] == [
        ("openai:mine", ["one", "two"], None),
        ("openai:gpt-4o", ["two"], "table"),
    ]
    assert [row.route for row in unknown_routes(priced)] == ["openai:mine"]
