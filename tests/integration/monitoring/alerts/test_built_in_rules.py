"""The rules that an installation begins with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from agents.journal.compaction import compact_turns
from agents.models import Turn
from monitoring.alerts.built_in_rules import BUILT_IN_RULES, BuiltInRule, create_built_in_rules
from monitoring.alerts.metrics import METRICS
from monitoring.alerts.rule_backtest import backtest_rule
from monitoring.models import AlertRule, GaugeSample, NotificationChannel
from tests.support.conversations import Conversation, conversation
from tests.support.past_turns import past_turn
from tests.support.people import agent

pytestmark = pytest.mark.django_db

NOW = timezone.now().astimezone(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
HOUR = 1 / 24


def test_they_are_created_once_and_stay_as_people_change_them() -> None:
    assert create_built_in_rules() == len(BUILT_IN_RULES)
    rules = {rule.name: rule for rule in AlertRule.objects.prefetch_related("channels")}
    assert {name: sorted(channel.name for channel in rule.channels.all()) for name, rule in rules.items()} == {
        rule.name: sorted(rule.channels) for rule in BUILT_IN_RULES
    }
    assert list(NotificationChannel.objects.values_list("name", "kind", "enabled")) == [
        ("email", "email", False), ("pagerduty", "pagerduty", False), ("slack", "slack", False),
    ]  # fmt: skip
    AlertRule.objects.filter(name="high_error_rate").update(threshold=50, enabled=False)
    NotificationChannel.objects.filter(name="slack").delete()
    assert create_built_in_rules() == 0
    assert AlertRule.objects.get(name="high_error_rate").threshold == 50
    assert not NotificationChannel.objects.filter(name="slack").exists()
    AlertRule.objects.filter(name="open_routes").delete()
    assert create_built_in_rules() == 1
    assert NotificationChannel.objects.get(name="slack").enabled is False


@pytest.mark.parametrize("rule", BUILT_IN_RULES, ids=lambda rule: rule.name)
def test_each_is_a_rule_that_people_could_save(rule: BuiltInRule) -> None:
    row = rule.make_row()
    row.full_clean()
    metric = METRICS[row.metric]
    assert {*row.group_by} <= {*metric.labels}
    assert row.runbook_url == f"/admin/runbooks/#{rule.name}"
    assert backtest_rule(row, now=NOW, days=HOUR).firings == []


def fails(ada: Conversation, minutes: float, seconds: float = 2) -> None:
    ended_at = NOW - timedelta(minutes=minutes)
    past_turn(ada.row, ended_at=ended_at, seconds=seconds, status="failed", error_class="transient")


def firings(name: str) -> list[tuple[datetime, datetime | None]]:
    [rule] = [rule for rule in BUILT_IN_RULES if rule.name == name]
    return [(one.firing_at, one.resolved_at) for one in backtest_rule(rule.make_row(), now=NOW, days=HOUR).firings]


def test_a_minute_of_failures_fires_nothing_and_a_series_does() -> None:
    agent("demo")
    ada = conversation()
    for second in range(1, 60):
        fails(ada, 50 + second / 60, seconds=600)
    assert (firings("high_error_rate"), firings("slow_response_time")) == ([], [])
    for minutes in (30, 27, 24, 20, 16):
        fails(ada, minutes, seconds=600)
    compact_turns(list(Turn.objects.values_list("agent_session_id", "id")))
    for name in ("high_error_rate", "slow_response_time"):
        # The first one counts from the next minute on, the last one for five minutes; then it is false for two.
        [(firing_at, resolved_at)] = firings(name)
        assert firing_at - (NOW - timedelta(minutes=24)) <= timedelta(seconds=30)
        assert resolved_at is not None
        assert timedelta(minutes=7) <= resolved_at - (NOW - timedelta(minutes=16)) <= timedelta(minutes=8, seconds=30)


def test_a_runner_that_fails_its_health_checks_is_down_after_two_minutes_and_one_that_came_late_is_not() -> None:
    start = NOW - timedelta(minutes=20)
    for number in range(60):
        at = start + timedelta(seconds=10 * number)
        GaugeSample.objects.create(metric="runner_failed_checks", at=at, value=0, labels={})
        if number < 20:
            GaugeSample.objects.create(metric="runner_failed_checks", at=at, value=1, labels={"runner": "a:1"})
        if 30 <= number < 33:
            GaugeSample.objects.create(metric="runner_failed_checks", at=at, value=1, labels={"runner": "b:1"})
    [(firing_at, resolved_at)] = firings("agent_down")
    assert timedelta(seconds=150) <= firing_at - start <= timedelta(seconds=180)
    assert resolved_at is not None
    assert resolved_at - start <= timedelta(seconds=260)


def test_the_docs_have_each_metric_and_each_rule() -> None:
    text = (Path(__file__).parents[4] / "docs/monitoring.md").read_text(encoding="utf-8")
    section = text.split("## Metrics and rules")[1].split("\n## ")[0]
    for metric in METRICS.values():
        labels = ", ".join(metric.labels) or "-"
        assert f"| `{metric.name}` | {metric.description} | {metric.unit or 'number'} | {labels} |" in section
    for rule in BUILT_IN_RULES:
        channels = ", ".join(rule.channels)
        assert f"| `{rule.name}` | {rule.description} | {rule.severity.value} | {channels} |" in section
