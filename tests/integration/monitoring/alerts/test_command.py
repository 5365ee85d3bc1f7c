"""`manage.py alerts rules` and `backtest`."""

from __future__ import annotations

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from foundation.clock import now
from monitoring.alerts.built_in_rules import BUILT_IN_RULES, create_built_in_rules
from monitoring.models import Alert, AlertRule, GaugeSample

pytestmark = pytest.mark.django_db


def alerts(*arguments: str) -> str:
    out = StringIO()
    call_command("alerts", *arguments, stdout=out)
    return out.getvalue()


def alerts_json(*arguments: str) -> Any:
    return json.loads(alerts(*arguments, "--json"))


def test_the_rules_are_listed_with_what_fires() -> None:
    create_built_in_rules()
    rule = AlertRule.objects.get(name="high_memory_usage")
    moment = now()
    times = {"pending_at": moment, "firing_at": moment, "evaluated_at": moment}
    Alert.objects.create(rule=rule, labels={"host": "a"}, state="firing", value=90, **times)
    AlertRule.objects.filter(name="disk_full").update(enabled=False)
    text = alerts("rules")
    assert len(text.splitlines()) == len(BUILT_IN_RULES)
    assert "high_memory_usage  [firing host a]  Memory in use above 85 %, for 3 min, warning, to slack" in text
    assert "disk_full  [off]" in text
    assert "high_error_rate  [inactive]" in text
    document = {row["name"]: row for row in alerts_json("rules")}
    assert [one["labels"] for one in document["high_memory_usage"]["alerts"]] == [{"host": "a"}]
    assert (document["disk_full"]["enabled"], document["agent_down"]["channels"]) == (
        False, ["email", "pagerduty", "slack"],
    )  # fmt: skip


def test_a_backtest_says_when_the_rule_would_have_fired() -> None:
    create_built_in_rules()
    start = now() - timedelta(minutes=40)
    for number in range(40):
        fraction = 0.9 if 10 <= number < 25 else 0.5
        at = start + timedelta(seconds=30 * number)
        GaugeSample.objects.create(metric="memory_fraction", at=at, value=fraction, labels={"host": "a"})
    document = alerts_json("backtest", "high_memory_usage", "--days", "0.05")
    assert (document["fired"], document["dropped"], document["evaluations"]) == (1, 0, 145)
    [firing] = document["firings"]
    assert firing["labels"] == {"host": "a"}
    assert 4 * 60 <= firing["seconds"] <= 5 * 60
    text = alerts("backtest", "high_memory_usage", "--days", "0.05")
    assert "high_memory_usage would have fired once in the last 0.05 days, longest 4 min" in text
    assert "host a" in text
    assert "fired 0 times" in alerts("backtest", "high_memory_usage", "--days", "0.05", "--threshold", "95")
    assert "There is no data of disk_used_percent" in alerts("backtest", "disk_full")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "There is no rule 'nothing'"),
        (["broken"], "The rule cannot be evaluated: 'gone'"),
        (["broken", "--days", "8"], "invalid _days value: '8'"),
        (["broken", "--threshold", "nan"], "invalid _threshold value: 'nan'"),
    ],
)
def test_what_cannot_be_tested_is_said(arguments: list[str], message: str) -> None:
    AlertRule.objects.create(name="broken", metric="gone", threshold=1)
    with pytest.raises(CommandError, match=message):
        alerts("backtest", *arguments)
