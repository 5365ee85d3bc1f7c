"""What the trials have measured, as lines; and an area that breaks fails alone."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest

from foundation.clock import now
from monitoring.models import AlertRule, NotificationChannel
from monitoring.readiness_validator import area_checks
from monitoring.readiness_validator.areas import (
    error_handling_checks,
    memory_checks,
    monitoring_checks,
    performance_checks,
)
from monitoring.readiness_validator.areas.error_handling_checks import judge_breaker
from monitoring.readiness_validator.areas.memory_checks import judge_growth, judge_memories
from monitoring.readiness_validator.areas.monitoring_checks import judge_alert
from monitoring.readiness_validator.areas.performance_checks import judge_load, quantile
from monitoring.readiness_validator.check_lines import Area, CheckLine
from monitoring.readiness_validator.scope import RunScope
from tests.support.readiness import outcomes, scope

BREAKER: dict[str, Any] = {
    "calls": 5, "opened": True, "stored": "open", "others_know": True, "answered_meanwhile": "offline:",
    "asked_while_open": 0, "closed_seconds": 1.0, "answered_after": "openai:readiness-scratch",
}  # fmt: skip
LOAD: dict[str, Any] = {
    "turns": 4, "completed": 4, "failed": [], "seconds": [0.1, 0.1, 0.2, 0.3], "elapsed_seconds": 1.0, "grown_bytes": 0,
}  # fmt: skip
MEMORY: dict[str, Any] = {"recalled": True, "superseded": True, "forgotten": True}
ALERT: dict[str, Any] = {"fired": True, "arrived": 1, "ended": True, "end_arrived": 1}


def failed(lines: Iterable[CheckLine]) -> list[str]:
    return [name for name, outcome in outcomes(lines).items() if outcome == "failed"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"opened": False, "calls": 50}, "breaker opens"),
        ({"others_know": False}, "breaker is shared"),
        ({"stored": "closed"}, "breaker is shared"),
        ({"answered_meanwhile": None}, "next model answers"),
        ({"asked_while_open": 1}, "next model answers"),
        ({"closed_seconds": None}, "breaker recovers"),
        ({"answered_after": "offline:"}, "breaker recovers"),
    ],
)
def test_a_breaker_that_does_not_do_its_work_fails(change: dict[str, Any], name: str | None) -> None:
    assert failed(judge_breaker(BREAKER | change)) == ([name] if name else [])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"completed": 3, "failed": ["transient"]}, "answers"),
        ({"seconds": [0.1, 0.1, 0.1, 2.5]}, "response time"),
    ],
)
def test_a_load_that_is_not_answered_in_time_fails(change: dict[str, Any], name: str | None) -> None:
    assert failed(judge_load(LOAD | change, 4)) == ([name] if name else [])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"recalled": False}, "recall"),
        ({"superseded": False}, "correction"),
        ({"forgotten": False}, "erasure"),
    ],
)
def test_a_memory_that_does_not_do_its_work_fails(change: dict[str, Any], name: str | None) -> None:
    assert failed(judge_memories(MEMORY | change)) == ([name] if name else [])


def test_a_process_that_grows_fails() -> None:
    assert failed([judge_growth(10 * 1024**2)]) == []
    assert failed([judge_growth(100 * 1024**2)]) == ["growth under load"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, None),
        ({"fired": False}, "a rule fires"),
        ({"ended": False}, "a rule fires"),
        ({"arrived": 0}, "its notification arrives"),
        ({"end_arrived": 2}, "its notification arrives"),
    ],
)
def test_an_alert_that_reaches_nobody_fails(change: dict[str, Any], name: str | None) -> None:
    assert failed(judge_alert(ALERT | change)) == ([name] if name else [])


@pytest.mark.django_db
def test_rules_that_nobody_evaluates_fail_and_a_channel_that_no_rule_has_is_none() -> None:
    AlertRule.objects.all().delete()
    lines = outcomes(monitoring_checks.check(scope(trials={"alert": ALERT})))
    assert lines["alert rules"] == lines["channels"] == "warning"
    rule = AlertRule.objects.create(name="long_queue", metric="queue_depth", threshold=1)
    assert outcomes(monitoring_checks.check(scope(trials={"alert": ALERT})))["alert rules"] == "failed"
    AlertRule.objects.update(evaluated_at=now() - timedelta(minutes=5))
    assert outcomes(monitoring_checks.check(scope(trials={"alert": ALERT})))["alert rules"] == "failed"
    AlertRule.objects.update(evaluated_at=now())
    rule.channels.add(NotificationChannel.objects.create(name="team", kind="webhook"))
    lines = outcomes(monitoring_checks.check(scope(trials={"alert": ALERT})))
    assert lines["alert rules"] == lines["channels"] == "passed"


def test_quantiles_are_values_that_were_measured() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.5, 0.95, 0.99)] == [50.0, 95.0, 99.0]
    assert quantile([3.0], 0.99) == 3.0


@pytest.mark.django_db
@pytest.mark.parametrize("area", [error_handling_checks, memory_checks, performance_checks, monitoring_checks])
def test_an_area_without_its_trial_fails(area: Any) -> None:
    assert failed(area.check(scope(trials={})))


@pytest.mark.django_db
def test_an_area_that_breaks_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_scope: RunScope) -> list[CheckLine]:
        raise RuntimeError

    areas = {Area.CONFIGURATION: broken, Area.MONITORING: monitoring_checks.check}
    monkeypatch.setattr(area_checks, "AREAS", areas)
    lines = outcomes(area_checks.validate(scope(trials={"alert": ALERT}), areas))
    assert lines["configuration"] == "failed"
    assert lines["a rule fires"] == "passed"
