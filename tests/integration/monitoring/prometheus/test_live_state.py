"""The gauges, from real rows."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from accounts.roles import Role
from agents.models import Budget, BudgetDifference, BudgetWindow, RouteHealth, Runner, Turn
from agents.models.runners import heartbeat_timeout
from foundation.clock import now
from monitoring.prometheus import families
from monitoring.prometheus.families import Family, Figures
from monitoring.prometheus.live_state import GONE_AFTER, breaker_level, read_live_state
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.budgets import book_spend
from tests.support.conversations import claim, conversation
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


def live(family: Family) -> dict[tuple[str, ...], families.Value]:
    figures = Figures()
    read_live_state(figures, now())
    return figures.values.get(family, {})


def test_an_installation_without_anything_says_so() -> None:
    figures = Figures()
    read_live_state(figures, now())
    assert figures.values[families.QUEUE_DEPTH] == {(): 0}
    assert figures.values[families.QUEUE_OLDEST] == {(): 0}
    assert figures.values[families.STUCK_TURNS] == {(): 0}
    assert figures.values[families.SCHEDULER_HEARTBEAT] == {(): math.inf}
    assert families.RUNNER_UP not in figures.values
    statuses = {status for (status,) in figures.values[families.OPEN_TURNS]}
    assert statuses == {"queued", "running", "waiting", "retry_wait", "cancelling"}


def test_the_queue_has_a_depth_and_an_age() -> None:
    ada, eve = conversation("ada"), conversation("eve")
    ada.ask("one")
    eve.ask("two")
    eve.ask("three")
    claim(1)
    Turn.objects.filter(status="queued").update(queued_at=Now() - timedelta(hours=1))
    assert live(families.QUEUE_DEPTH) == {(): 2}
    (oldest,) = live(families.QUEUE_OLDEST).values()
    assert isinstance(oldest, float)
    assert 3500 < oldest < 3700
    counts = live(families.OPEN_TURNS)
    assert (counts["queued",], counts["running",]) == (2, 1)
    Turn.objects.filter(status="running").update(lease_expires_at=Now() - timedelta(minutes=2))
    assert live(families.STUCK_TURNS) == {(): 1}


def test_a_runner_is_up_until_it_is_silent_and_gone_when_it_stops() -> None:
    Runner.objects.create(host="here", pid=7, capacity=8, running=3)
    assert live(families.RUNNER_UP) == {("here:7",): 1}
    assert live(families.RUNNER_TURNS) == {("here:7",): 3}
    assert live(families.RUNNER_CAPACITY) == {("here:7",): 8}
    Runner.objects.update(status=Runner.Status.DRAINING)
    assert live(families.RUNNER_UP) == {("here:7",): 0}
    Runner.objects.update(status=Runner.Status.RUNNING, heartbeat_at=Now() - heartbeat_timeout())
    assert live(families.RUNNER_UP) == {("here:7",): 0}
    assert live(families.RUNNER_TURNS) == {("here:7",): 0}
    Runner.objects.update(heartbeat_at=Now() - GONE_AFTER)
    assert live(families.RUNNER_UP) == {}
    Runner.objects.update(heartbeat_at=Now(), status=Runner.Status.STOPPED)
    assert live(families.RUNNER_UP) == {}


def test_a_container_that_starts_again_is_the_same_runner() -> None:
    for number in range(3):
        Runner.objects.create(
            host="pod", pid=1, capacity=8, running=number, heartbeat_at=Now() - number * timedelta(60)
        )
    assert live(families.RUNNER_UP) == {("pod:1",): 1}
    assert live(families.RUNNER_TURNS) == {("pod:1",): 0}


def test_a_route_has_the_state_of_the_credential_that_was_used_last() -> None:
    later = now() + timedelta(minutes=1)
    for credential, state, used_at in (("new", "open", Now()), ("old", "closed", Now() - timedelta(days=1))):
        RouteHealth.objects.create(
            provider="openai", model="m", credential=credential, state=state, open_until=later, used_at=used_at
        )
    RouteHealth.objects.create(provider="openai", credential="new", blocked_until=later)
    assert live(families.BREAKER_STATE) == {("openai", "m"): 2, ("openai", "*"): 2}


@pytest.mark.parametrize(
    ("level", "row"),
    [
        (0, {}),
        (2, {"state": "open", "open_until": 60}),
        (1, {"state": "open", "open_until": -60}),
        (1, {"state": "half_open"}),
        (1, {"state": "half_open", "probe_until": 60}),
        (2, {"state": "half_open", "probe_until": 60, "blocked_until": 60}),
        (2, {"blocked_until": 60}),
        (0, {"blocked_until": -60}),
        (2, {"forced": "open", "forced_until": 60}),
        (0, {"forced": "open", "forced_until": -60}),
        (0, {"state": "open", "open_until": 60, "forced": "closed", "forced_until": 60}),
    ],
)
def test_the_level_of_a_breaker(level: int, row: dict[str, object]) -> None:
    at = now()
    fields = {key: at + timedelta(seconds=value) if isinstance(value, int) else value for key, value in row.items()}
    assert breaker_level(RouteHealth(provider="openai", model="m", **fields), at) == level


def test_the_scheduler_and_the_database_say_how_they_are() -> None:
    record_scheduler_heartbeat()
    (age,) = live(families.SCHEDULER_HEARTBEAT).values()
    assert isinstance(age, float)
    assert 0 <= age < 60
    assert live(families.JOBS_FAILED) == {(): 0}
    (used,), (most,), (size,) = (
        live(family).values()
        for family in (families.DATABASE_CONNECTIONS, families.DATABASE_MAX_CONNECTIONS, families.DATABASE_SIZE)
    )
    assert isinstance(used, int)
    assert isinstance(most, int)
    assert 1 <= used <= most
    assert isinstance(size, int)
    assert size > 1_000_000


def test_budgets_say_what_remains_and_name_no_user() -> None:
    for name, spent in (("ada", 30), ("bob", 80)):
        budget = Budget.objects.create(
            subject="user", user=person(name, Role.USER), unit="usd", period="month", amount=100
        )
        book_spend(budget, spent)
    Budget.objects.create(subject="agent", agent=agent("demo"), unit="tokens", period="day", amount=1000)
    Budget.objects.create(subject="everybody", unit="usd", period="hour", amount=0)
    assert live(families.BUDGET_REMAINING) == {
        ("user, usd per month", "usd"): 20, ("agent demo, tokens per day", "tokens"): 1000,
        ("everybody, usd per hour", "usd"): 0,
    }  # fmt: skip
    assert live(families.BUDGET_USED) == {
        ("user, usd per month", "usd"): 0.8, ("agent demo, tokens per day", "tokens"): 0,
    }  # fmt: skip
    assert live(families.BUDGETS_OVERDRAWN) == live(families.BUDGET_DIFFERENCES) == {(): 0}
    BudgetWindow.objects.update(overdraft=1)
    BudgetDifference.objects.create(kind="call", unit="usd", expected=1, actual=2)
    assert (live(families.BUDGETS_OVERDRAWN), live(families.BUDGET_DIFFERENCES)) == ({(): 2}, {(): 1})
