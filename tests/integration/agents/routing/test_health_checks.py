"""What the start page and `/ready` say of routes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import AsyncClient

from accounts.actor import Actor
from accounts.roles import Role
from agents.models import RouteHealth, Runner
from agents.releases import publish
from foundation.clock import now
from foundation.db_threads import in_db_thread
from monitoring import readiness
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.consoles import client_of
from tests.support.people import agent, write_draft


def rows() -> None:
    later = now() + timedelta(minutes=5)
    RouteHealth.objects.create(provider="openai", model="closed", credential="c")
    RouteHealth.objects.create(provider="openai", model="gpt", credential="c", state="open", open_until=later,
                               last_error="transient: 503 Overloaded.")  # fmt: skip
    RouteHealth.objects.create(provider="openai", model="held", credential="c", forced="open", forced_until=later)
    RouteHealth.objects.create(provider="google", credential="d", blocked_until=later, last_error="auth: 401 no")


@pytest.mark.django_db
def test_the_start_page_names_the_routes_and_what_to_do() -> None:
    rows()
    alerts = {one.message: one for one in client_of("vera", Role.VIEWER).get("/admin/").context["alerts"]}
    route = alerts["The route openai:gpt is open: transient: 503 Overloaded."]
    credential = alerts["The credential of google is not used: auth: 401 no"]
    assert (route.level, credential.level) == ("warn", "bad")
    assert "does not answer" in route.remedy
    held = alerts["The route openai:held is forced open: An operator holds it."]
    assert held.remedy == "An operator holds it. It ends by itself, or with Release on the route's page."
    assert "key" in credential.remedy
    assert not any("closed" in message for message in alerts)


@pytest.mark.django_db
def test_the_start_page_names_models_of_live_releases_whose_window_nobody_knows() -> None:
    demo = agent("special")
    write_draft(demo, model_chain=["openai:mine", "openai:gpt-5-mini"], version=2)
    publish(Actor.system("tests"), agent_id=demo.pk, expected_version=2)
    for model, window in (("mine", 0), ("gpt-5-mini", 400_000), ("other", 0), ("new", None)):
        RouteHealth.objects.create(provider="openai", model=model, credential="c", context_window=window)
    alerts = {one.message: one for one in client_of("vera", Role.VIEWER).get("/admin/").context["alerts"]}
    named = [message for message in alerts if "context window" in message]
    assert named == ["The context window of openai:mine is not known: it counts as 8,192 tokens"]
    assert "BANDSTAND_DIALECT=openai:mine=+window=" in alerts[named[0]].remedy


@pytest.mark.django_db
def test_a_route_that_is_open_makes_nothing_fail() -> None:
    record_scheduler_heartbeat()
    Runner.objects.create(host="here", pid=1, capacity=1)
    assert readiness.read_readiness().degraded == []
    rows()
    found = readiness.read_readiness()
    assert found.failing == []
    assert [(part.part, part.detail) for part in found.degraded] == [("model_routes", "3 not asked freely")]


@pytest.mark.usefixtures("transactional_db")
async def test_ready_says_that_it_is_degraded_and_is_ready() -> None:
    def prepare() -> None:
        record_scheduler_heartbeat()
        Runner.objects.create(host="here", pid=1, capacity=1)
        rows()

    await in_db_thread(prepare)
    answer = await AsyncClient().get("/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "failing": {}, "degraded": {"model_routes": "3 not asked freely"}}
