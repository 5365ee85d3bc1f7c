"""Samples: each process writes its own, one of them those of the gauges, whatever happens to the database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.db.models.functions import Now
from structlog.testing import capture_logs

from accounts.roles import Role
from agents.domain.circuit_breaker import BreakerState
from agents.models import Budget, BudgetDifference, BudgetWindow, RouteHealth, Runner, Turn
from foundation.advisory_locks import AdvisoryLock
from foundation.clock import now
from foundation.process_work import Process, ProcessKind
from foundation.spans import SpanBuffer
from monitoring.alerts.built_in_rules import BUILT_IN_RULES
from monitoring.alerts.rule_values import read_rule_values
from monitoring.models import (
    AlertRule,
    GaugeSample,
    Notification,
    NotificationChannel,
    ProcessSample,
    Recommendation,
    RecommendationKind,
)
from monitoring.sampling import sample_retention
from monitoring.sampling import sampler as module
from monitoring.sampling.gauge_samples import Gauge, gauges_are_due, write_gauges
from monitoring.sampling.process_samples import make_sample, read_process, store_sample
from monitoring.sampling.runner_looks import look_at_runners
from monitoring.sampling.sample_retention import purge_samples
from monitoring.sampling.sampler import Sampler
from scheduling.heartbeats import SCHEDULER, record_heartbeat
from tests.support.advisory_locks import held_elsewhere
from tests.support.budgets import book_spend
from tests.support.conversations import claim, conversation
from tests.support.people import agent, person

RUNNER = UUID(int=7)


def process(kind: ProcessKind = ProcessKind.RUNNER, **figures: Any) -> Process:
    return Process(kind, RUNNER, lambda: figures, SpanBuffer())


def store(kind: ProcessKind, **figures: Any) -> ProcessSample:
    store_sample(make_sample(process(kind), read_process(process(kind)), read_process(process(kind, **figures))))
    return ProcessSample.objects.latest("id")


def gauges() -> dict[str, float]:
    return {sample.metric: sample.value for sample in GaugeSample.objects.all()}


@pytest.mark.django_db
def test_a_runner_s_queue_is_that_of_all_and_a_web_process_s_its_own_requests() -> None:
    conversation().asks(2)
    runner = store(ProcessKind.RUNNER, requests_total=3, running=1)
    web = store(ProcessKind.WEB, queue_length=5, open_websockets=9)
    assert (runner.kind, runner.queue_length, runner.requests_total, runner.figures["running"]) == ("runner", 2, 3, 1)
    assert (web.kind, web.queue_length, web.figures["open_websockets"]) == ("web", 5, 9)
    assert abs(web.at - now()) < timedelta(minutes=1)


@pytest.mark.django_db
def test_every_gauge_is_sampled_and_not_again_within_its_interval() -> None:
    ada = conversation()
    ada.asks(2)
    conversation("bob").ask()
    claim(1)
    Runner.objects.create(host="here", pid=1, capacity=8)
    Runner.objects.create(host="gone", pid=2, capacity=8, heartbeat_at=now() - timedelta(hours=1))
    RouteHealth.objects.create(provider="openai", model="x", state=BreakerState.OPEN.value, open_until=Now())
    record_heartbeat(SCHEDULER)
    store(ProcessKind.RUNNER, disk_used_fraction=0.25, event_lag={"bounds": [0.1], "buckets": [3, 1]}, spans_dropped=4)
    assert gauges_are_due()
    write_gauges()
    assert not gauges_are_due()
    found = gauges()
    assert set(found) == {gauge.value for gauge in Gauge} - {"runner_failed_checks"}
    assert (found["open_routes"], found["stuck_turns"], found["failed_jobs"]) == (1, 0, 0)
    assert (found["disk_fraction"], found["event_lag_seconds"], found["failed_notifications"]) == (0.25, 0.1, 0)
    assert 0 <= found["scheduler_silent_seconds"] < 60
    assert 0 < found["database_connections_percent"] <= 100
    assert (found["queue_depth"], found["running_turns"], found["active_sessions"]) == (2, 1, 2)
    assert (found["runners_alive"], found["runner_capacity"], found["open_breakers"]) == (1, 8, 1)
    assert 0 < found["memory_fraction"] < 1
    assert found["database_connections"] >= 1
    assert found["database_bytes"] > 1_000_000
    assert GaugeSample.objects.get(metric="memory_fraction").labels == {"host": ProcessSample.objects.get().host}
    GaugeSample.objects.update(at=now() - timedelta(seconds=29))
    assert gauges_are_due()


@pytest.mark.django_db
def test_open_routes_are_those_that_nobody_asks_or_that_are_only_tried() -> None:
    moment = now()
    states: dict[str, dict[str, Any]] = {
        "open": {"state": "open", "open_until": moment + timedelta(seconds=9)},
        "due": {"state": "open", "open_until": moment - timedelta(minutes=5)},
        "unused": {"state": "open", "open_until": moment - timedelta(hours=1)},
        "tried": {"state": "half_open"},
        "closed": {},
        "forced-open": {"forced": "open", "forced_until": moment + timedelta(hours=1)},
        "forced-closed": {
            "state": "open", "open_until": moment + timedelta(seconds=9), "forced": "closed",
            "forced_until": moment + timedelta(hours=1),
        },
    }  # fmt: skip
    for model, columns in states.items():
        RouteHealth.objects.create(provider="openai", model=model, credential=model, **columns)
    RouteHealth.objects.create(provider="openai", model="open", credential="another", **states["open"])
    write_gauges()
    rows = GaugeSample.objects.filter(metric="open_routes").values_list("labels", "value")
    routes = {labels.get("route"): value for labels, value in rows}
    opened = ("open", "due", "tried", "forced-open")
    assert routes == {None: 0.0} | dict.fromkeys((f"openai:{model}" for model in opened), 1.0)


@pytest.mark.django_db
def test_budgets_that_are_shared_are_sampled_by_how_much_is_spent_and_those_of_users_are_not() -> None:
    ada = person("ada", Role.USER)
    sales = Group.objects.create(name="sales")
    for amount, spent, target in (
        (200, 50, {"subject": "everybody"}),
        (100, 95, {"subject": "group", "group": sales}),
        (100, 99, {"subject": "user", "user": ada}),
        (100, 99, {"subject": "each_user"}),
        (0, 0, {"subject": "agent", "agent": agent("demo")}),
    ):
        budget = Budget.objects.create(unit="usd", period="month", amount=amount, **target)
        book_spend(budget, spent)
    BudgetWindow.objects.filter(spent=99).update(overdraft=1)
    BudgetDifference.objects.create(kind="call", unit="usd", expected=1, actual=2)
    write_gauges()
    samples = GaugeSample.objects.filter(metric="budget_used_percent").values_list("labels", "value")
    assert {labels.get("budget"): value for labels, value in samples} == {
        None: 0, "everybody, usd per month": 25, "group sales, usd per month": 95,
    }  # fmt: skip
    assert (gauges()["budgets_overdrawn"], gauges()["budget_differences"]) == (2, 1)
    assert read_rule_values(spend_rule(), now() + timedelta(seconds=1)) == {
        (("budget", "everybody, usd per month"),): 25, (("budget", "group sales, usd per month"),): 95,
    }  # fmt: skip


def spend_rule() -> AlertRule:
    [rule] = [rule for rule in BUILT_IN_RULES if rule.name == "high_spend"]
    return rule.make_row()


@pytest.mark.django_db
def test_turns_past_their_lease_or_their_deadline_are_stuck() -> None:
    for name in ("ada", "bob", "eve", "dan"):
        conversation(name).ask()
    long_ago = now() - timedelta(minutes=2)
    lost, late = claim(2)
    Turn.objects.filter(pk=lost.turn_id).update(lease_expires_at=long_ago)
    Turn.objects.filter(pk=late.turn_id).update(deadline_at=long_ago)
    queued = Turn.objects.filter(status="queued").first()
    assert queued is not None
    Turn.objects.filter(pk=queued.pk).update(deadline_at=long_ago)
    write_gauges()
    assert gauges()["stuck_turns"] == 3


@pytest.mark.django_db
def test_what_happened_since_the_samples_before_counts_once() -> None:
    channel = NotificationChannel.objects.create(name="ops", kind="email")
    for minutes in (0, 0, 5):
        Notification.objects.create(
            channel=channel, kind="firing", dedup_key=str(uuid4()), content={}, state="failed",
            finished_at=now() - timedelta(minutes=minutes),
        )  # fmt: skip
    # Each would begin the next alert.
    rule = AlertRule.objects.create(name="notifications_failed", metric="failed_notifications", threshold=0)
    Notification.objects.create(
        channel=channel, rule=rule, kind="resolved", dedup_key="a", content={}, state="failed", finished_at=now()
    )
    sample = make_sample(process(), read_process(process()), read_process(process()))
    sample.figures["new_spans_dropped"] = 7
    store_sample(sample)
    for expected in ((7, 2), (0, 0)):
        write_gauges()
        newest = [GaugeSample.objects.filter(metric=name).latest("id").value for name in (
            "dropped_spans", "failed_notifications")]  # fmt: skip
        assert tuple(newest) == expected


def looks() -> dict[str | None, float]:
    rows = GaugeSample.objects.filter(metric="runner_failed_checks").values_list("labels", "value")
    return {labels.get("runner"): value for labels, value in rows}


@pytest.mark.django_db
def test_a_runner_whose_beat_is_too_old_has_failed_unless_it_ended_or_was_replaced() -> None:
    def runner(host: str, pid: int, silent: float, age: float = 60, **columns: Any) -> None:
        Runner.objects.create(
            host=host, pid=pid, capacity=1, heartbeat_at=now() - timedelta(minutes=silent),
            started_at=now() - timedelta(minutes=age), **columns,
        )  # fmt: skip

    runner("a", 1, 0)
    runner("a", 2, 1)
    runner("a", 3, 1, status="stopped")
    runner("a", 4, 1, status="draining")
    runner("a", 5, 30)
    # Two vanished, one came.
    runner("b", 1, 2)
    runner("b", 2, 3)
    runner("b", 3, 0, age=1)
    look_at_runners()
    assert looks() == {None: 0, "a:2": 1, "a:4": 1, "b:1": 1}
    look_at_runners()
    assert GaugeSample.objects.count() == 4, "nobody looks again so soon"
    GaugeSample.objects.update(at=now() - timedelta(seconds=9.5))
    with held_elsewhere(AdvisoryLock.LOOK_AT_RUNNERS):
        look_at_runners()
    assert GaugeSample.objects.count() == 4
    look_at_runners()
    assert GaugeSample.objects.count() == 8


@pytest.mark.django_db
def test_a_clock_that_was_put_back_stops_no_samples() -> None:
    GaugeSample.objects.create(metric=Gauge.QUEUE_DEPTH, labels={}, at=now() + timedelta(days=1), value=0.0)
    assert gauges_are_due()


@pytest.mark.django_db
def test_an_empty_queue_has_no_age_and_a_host_that_is_gone_no_memory() -> None:
    store(ProcessKind.RUNNER)
    ProcessSample.objects.update(at=now() - timedelta(minutes=5))
    write_gauges()
    assert gauges()["queue_oldest_seconds"] == 0
    assert "memory_fraction" not in gauges()


def run_sampler(analyse: Callable[[], object] = lambda: None) -> None:
    """A sampler that wrote its first sample, and the last one at its end."""
    looked = threading.Event()

    def watch() -> None:
        analyse()
        looked.set()

    sampler = Sampler(process(requests_total=3), analyse=watch, first_seconds=0, interval_seconds=60)
    sampler.start()
    looked.wait(10)
    sampler.stop()
    assert not sampler.is_alive()


@pytest.mark.usefixtures("transactional_db")
def test_the_thread_writes_a_sample_at_once_and_one_at_its_end() -> None:
    run_sampler()
    assert [sample.requests_total for sample in ProcessSample.objects.all()] == [3, 3]
    assert GaugeSample.objects.filter(metric="queue_depth").count() == 1


@pytest.mark.usefixtures("transactional_db")
def test_an_analysis_that_fails_costs_no_sample() -> None:
    def fail() -> None:
        raise ValueError("by chance")

    with capture_logs() as logs:
        sampler = Sampler(process(), analyse=fail, first_seconds=0, interval_seconds=0.05)
        sampler.start()
        for _ in range(200):
            if ProcessSample.objects.count() >= 3:
                break
            threading.Event().wait(0.05)
        sampler.stop()
    assert ProcessSample.objects.count() >= 3
    assert "sample.failed" in {entry["event"] for entry in logs}


@pytest.mark.usefixtures("transactional_db")
def test_without_a_database_nothing_is_written_and_the_totals_come_with_the_next_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = Sampler(process(requests_total=3), analyse=lambda: None)
    before = sampler._before

    def refuse(_sample: ProcessSample) -> None:
        raise OperationalError("gone")

    with monkeypatch.context() as patch, capture_logs() as logs:
        patch.setattr(module, "store_sample", refuse)
        sampler._guard(sampler._write_sample)
    assert [entry["event"] for entry in logs] == ["sample.not_written"]
    assert sampler._before is before
    sampler._guard(sampler._write_sample)
    assert ProcessSample.objects.count() == 1


@pytest.mark.usefixtures("transactional_db")
def test_while_one_process_looks_no_other_does() -> None:
    calls: list[int] = []
    sampler = Sampler(process(), analyse=lambda: calls.append(1))
    with held_elsewhere(AdvisoryLock.MONITOR_PERFORMANCE):
        sampler._guard(sampler._watch_installation)
    assert (calls, GaugeSample.objects.count()) == ([], 0)
    sampler._guard(sampler._watch_installation)
    sampler._guard(sampler._watch_installation)
    assert (calls, GaugeSample.objects.filter(metric="queue_depth").count()) == ([1], 1)


@pytest.mark.django_db
def test_samples_are_deleted_after_two_weeks_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_retention, "BATCH", 2)
    old = now() - timedelta(days=15)
    GaugeSample.objects.bulk_create(GaugeSample(metric="queue_depth", at=old, value=1) for _ in range(5))
    store(ProcessKind.WEB)
    write_gauges()
    fresh = GaugeSample.objects.filter(at__gt=old).count()
    for status in (Recommendation.Status.OPEN, Recommendation.Status.OBSOLETE):
        Recommendation.objects.create(
            kind=RecommendationKind.MEMORY_CLEANUP,
            status=status,
            runner_id=RUNNER,
            created_at=now() - timedelta(days=91),
        )
    assert purge_samples() == 5 + 1
    assert (GaugeSample.objects.count(), ProcessSample.objects.count()) == (fresh, 1)
    assert [found.status for found in Recommendation.objects.all()] == ["open"]
