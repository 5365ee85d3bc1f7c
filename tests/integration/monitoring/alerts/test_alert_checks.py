"""What the start page says of alert rules, in one statement."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from foundation.clock import now
from health_checks.check import Level
from health_checks.run import Measurements
from monitoring.alerts.health_checks import evaluate_rules, read_troubled_rules
from monitoring.models import Alert, AlertRule

pytestmark = pytest.mark.django_db


def make_rule(name: str, **values: Any) -> AlertRule:
    return AlertRule.objects.create(name=name, metric="turn_error_rate", threshold=5, **values)


def fire(rule: AlertRule, **values: Any) -> Alert:
    times = {"pending_at": now(), "firing_at": now() - timedelta(minutes=10), "evaluated_at": now()}
    return Alert.objects.create(rule=rule, **{"state": "firing"} | times | values)


def test_what_fires_is_said_with_the_critical_first(django_assert_num_queries: Any) -> None:
    slow = make_rule("a_slow", severity="warning")
    fire(slow, labels={"agent": "demo"}, value=7.25)
    broken = make_rule("b_broken", severity="critical", description="Many turns fail.", runbook_url="/x")
    for name in ("demo", "other"):
        fire(broken, labels={"agent": name})
    Alert.objects.create(rule=make_rule("c_pending"), pending_at=now(), evaluated_at=now())
    fire(make_rule("d_over"), state="resolved", resolved_at=now())
    make_rule("e_unread", evaluation_failures=3, evaluation_error="No table")
    make_rule("f_off", enabled=False, evaluation_failures=3)
    make_rule("g_once", evaluation_failures=1)
    with django_assert_num_queries(1):
        rules = read_troubled_rules(Measurements(now()))
    first, second, third = evaluate_rules(rules)
    assert (first.level, first.message) == (Level.BAD, "b_broken: 2 alerts are firing, the first for 10 min")
    assert first.remedy.startswith("Many turns fail. Its page leads to the runbook")
    assert first.link is not None
    assert first.link.url() == f"/admin/monitoring/alert/?rule={broken.pk}&state=firing"
    assert (second.level, second.message) == (
        Level.WARN,
        "a_slow has been firing for 10 min. Failed turns of agent demo: 7.25 %",
    )
    assert third.message == "The alert rule e_unread cannot be evaluated: No table"


def test_nothing_is_said_where_nothing_fires() -> None:
    make_rule("quiet")
    assert evaluate_rules(read_troubled_rules(Measurements(now()))) == []
