"""Evaluation of alert rules: what each pass makes of their alerts, from rows alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from structlog.testing import capture_logs

from monitoring.alerts.evaluator import EvaluationPass, evaluate_due_rules
from monitoring.alerts.transitions import MAX_OPEN_ALERTS
from monitoring.models import Alert, AlertRule, GaugeSample, NoDataPolicy, Notification
from tests.support.alerts import START, Evaluations, make_channel, make_rule, queued

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluations() -> Evaluations:
    return Evaluations()


def states() -> list[str]:
    return [alert.state for alert in Alert.objects.order_by("id")]


def states_by_host() -> dict[str, str]:
    return {alert.labels["host"]: alert.state for alert in Alert.objects.order_by("id")}


def test_a_condition_that_holds_fires_is_notified_once_and_ends(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(), for_seconds=60)
    evaluations.after(0, 5.0)
    assert states() == []
    evaluations.after(30, 11.0)
    assert states() == ["pending"]
    evaluations.after(30, 12.0)
    assert (states(), queued()) == (["pending"], [])
    evaluations.after(30, 13.0)
    assert states() == ["firing"]
    evaluations.after(30, 14.0)
    evaluations.after(30, 5.0)
    assert states() == ["resolved"]
    assert queued() == [
        ("firing", "long_queue: Turns in the queue 13, above 10"),
        ("resolved", "long_queue: has ended"),
    ]
    alert = Alert.objects.get()
    assert {row.content["incident_key"] for row in Notification.objects.all()} == {str(alert.pk)}
    assert [list(row.alerts.all()) for row in Notification.objects.all()] == [[alert], [alert]]
    assert AlertRule.objects.get().value == 5.0


def test_one_false_evaluation_drops_a_pending_alert(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(), for_seconds=60)
    for value in (11.0, 11.0, 9.0, 11.0, 11.0):
        evaluations.after(30, value)
    assert states() == ["pending"]
    assert Alert.objects.get().pending_at == START + timedelta(seconds=120)
    assert queued() == []


def test_an_alert_ends_past_the_clear_threshold_after_its_time(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(), clear_threshold=5.0, keep_firing_for_seconds=60)
    for value, state in ((11.0, "firing"), (6.0, "firing"), (4.0, "firing"), (4.0, "firing"), (4.0, "resolved")):
        evaluations.after(30, value)
        assert states() == [state]


def test_each_value_of_a_label_has_an_alert_of_its_own(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"], for_seconds=30)
    evaluations.after(0, {"a": 11.0, "b": 3.0, "c": 12.0})
    evaluations.after(30, {"a": 11.0, "b": 11.0, "c": 2.0})
    assert states_by_host() == {"a": "firing", "b": "pending"}
    evaluations.after(30, {"b": 11.0})  # host a is gone
    assert states_by_host() == {"a": "resolved", "b": "firing"}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [(NoDataPolicy.OK, ["resolved"]), (NoDataPolicy.KEEP, ["firing"]), (NoDataPolicy.ALERT, ["firing"])],
)
def test_what_no_data_means_is_the_rule_s_to_say(
    evaluations: Evaluations, policy: NoDataPolicy, expected: list[str]
) -> None:
    make_rule(no_data=policy)
    evaluations.after(0, 11.0)
    evaluations.after(30, None)
    assert states() == expected
    Alert.objects.all().delete()
    evaluations.after(30, float("nan"))
    assert states() == (["firing"] if policy is NoDataPolicy.ALERT else [])


def test_a_clock_that_is_put_back_neither_delays_an_alert_nor_stops_a_rule(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(), for_seconds=60, repeat_seconds=60)
    evaluations.after(0, 11.0)
    evaluations.after(30, 11.0)
    evaluations.after(-3600, 11.0)
    assert states() == ["pending"]
    evaluations.after(30, 11.0)
    assert states() == ["firing"]
    alert = Alert.objects.get()
    assert alert.firing_at == START + timedelta(seconds=-3540)
    assert alert.firing_at - alert.pending_at == timedelta(seconds=60)
    evaluations.after(-3600, 11.0)
    evaluations.after(30, 11.0)
    assert [kind for kind, _ in queued()] == ["firing"]
    evaluations.after(30, 11.0)
    assert [kind for kind, _ in queued()] == ["firing", "repeat"]


def test_a_rule_that_fails_keeps_its_state_and_says_so_after_the_third_time(evaluations: Evaluations) -> None:
    make_rule("long_queue", make_channel(), for_seconds=60)
    make_rule("other", metric="memory_percent")
    evaluations.after(0, {"long_queue": 11.0, "other": 1.0})
    for count in (1, 2, 3, 4):
        broken = {"long_queue": ValueError("the reader broke"), "other": 1.0}
        assert evaluations.after(30, broken) == EvaluationPass(rules=2, failures=1, notifications=int(count == 3))
        rule = AlertRule.objects.get(name="long_queue")
        assert (rule.evaluation_failures, rule.evaluation_error) == (count, "ValueError: the reader broke")
        assert states() == ["pending"]
    assert queued() == [("evaluation_failed", "long_queue: cannot be evaluated")]
    evaluations.after(30, {"long_queue": 11.0, "other": 1.0})
    assert states() == ["firing"]  # it was pending all the time
    rule.refresh_from_db()
    assert (rule.evaluation_failures, rule.evaluation_error, rule.evaluation_failing_at) == (0, "", None)
    assert queued()[1:] == [
        ("evaluation_failed", "long_queue: can be evaluated again"),
        ("firing", "long_queue: Turns in the queue 11, above 10"),
    ]
    failing, working = Notification.objects.filter(kind="evaluation_failed").order_by("id")
    assert failing.content["incident_key"] == working.content["incident_key"]
    assert (failing.content["state"], working.content["state"]) == ("firing", "resolved")
    assert failing.dedup_key != working.dedup_key


def test_a_reading_that_the_database_refuses_fails_no_other_rule(evaluations: Evaluations) -> None:
    make_rule("broken", metric="gone")
    make_rule("other", metric="memory_percent")

    class Refused(dict[str, float]):
        def __contains__(self, name: object) -> bool:
            if name == "broken":
                GaugeSample.objects.raw("SELECT 1/0")[0]
            return super().__contains__(name)

    assert evaluations.after(0, Refused(other=11.0)).failures == 1
    assert states() == ["firing"]


def test_a_metric_that_is_none_is_a_failure() -> None:
    make_rule(metric="gone")
    assert evaluate_due_rules() == EvaluationPass(rules=1, failures=1)
    assert AlertRule.objects.get().evaluation_error == "ValueError: There is no metric gone."


def test_a_rule_that_is_disabled_ends_its_alerts_at_once(evaluations: Evaluations) -> None:
    rule = make_rule("full", make_channel(), group_by=["host"], for_seconds=30, interval_seconds=600)
    evaluations.after(0, {"a": 11.0})
    evaluations.after(600, {"a": 11.0, "b": 11.0})
    AlertRule.objects.update(enabled=False)
    evaluations.after(1, {"a": 11.0, "b": 11.0})
    assert states_by_host() == {"a": "resolved"}
    assert Alert.objects.get().resolution == "the rule was disabled"
    assert [kind for kind, _ in queued()] == ["firing", "resolved"]
    assert evaluations.after(600, {}) == EvaluationPass()
    rule.refresh_from_db()
    assert rule.evaluated_at == START + timedelta(seconds=600)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"group_by": []}, [({"host": "a"}, "resolved"), ({}, "firing")]),
        ({"labels": {"host": "a"}}, [({"host": "a"}, "resolved"), ({"host": "a"}, "firing")]),
        ({"metric": "disk_used_percent"}, [({"host": "a"}, "resolved"), ({"host": "a"}, "firing")]),
        ({"threshold": 20.0}, [({"host": "a"}, "resolved")]),
        ({"threshold": 5.0, "window_seconds": 60}, [({"host": "a"}, "firing")]),
    ],
)
def test_an_alert_of_a_rule_that_measures_something_else_by_now_ends(
    evaluations: Evaluations, change: dict[str, Any], expected: list[Any]
) -> None:
    make_rule("full", make_channel(), group_by=["host"])
    evaluations.after(0, {"a": 11.0})
    AlertRule.objects.update(**change)
    evaluations.after(30, 11.0 if "group_by" in change else {"a": 11.0})
    alerts = list(Alert.objects.order_by("id"))
    assert [(alert.labels, alert.state) for alert in alerts] == expected
    is_other = len(expected) == 2
    assert alerts[0].resolution == ("the rule was changed" if is_other else "")


def test_a_storm_of_labels_opens_a_bounded_number_of_alerts(evaluations: Evaluations) -> None:
    make_rule("full", make_channel(), group_by=["host"])
    values = {f"host-{number}": 11.0 for number in range(MAX_OPEN_ALERTS + 50)}
    with capture_logs() as logs:
        evaluations.after(0, values)
        evaluations.after(30, values)
    assert states() == ["firing"] * MAX_OPEN_ALERTS
    assert "alert_rule.limited" in {entry["event"] for entry in logs}
    [row] = Notification.objects.all()
    assert (row.content["alerts_count"], len(row.content["alerts"])) == (MAX_OPEN_ALERTS, 20)


def test_a_pass_takes_few_statements(evaluations: Evaluations) -> None:
    for number in range(12):
        make_rule(f"rule_{number}", make_channel(f"channel-{number}"), window_seconds=60 * number)
    evaluations.after(0, 1.0)
    with CaptureQueriesContext(
        connection,
    ) as nothing_due:
        evaluations.after(1, 1.0)
    with CaptureQueriesContext(connection) as all_calm:
        evaluations.after(30, 1.0)
    evaluations.after(30, 11.0)
    with CaptureQueriesContext(connection) as all_firing:
        evaluations.after(30, 11.0)
    # Each of twelve readings has a savepoint; two more are of the test's transaction.
    assert [len(one) - 2 for one in (nothing_due, all_calm, all_firing)] == [1, 7 + 24, 13 + 24]
