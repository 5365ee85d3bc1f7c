"""The evaluator as background work: one process at a time, whatever happens to the database."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError
from structlog.testing import capture_logs

from foundation.advisory_locks import AdvisoryLock
from foundation.clock import now
from monitoring.alerts import alert_retention
from monitoring.alerts.alert_retention import purge_alerts
from monitoring.alerts.evaluator import EvaluationPass
from monitoring.alerts.evaluator_thread import AlertEvaluator
from monitoring.models import Alert, AlertRule, GaugeSample, Notification, Silence
from tests.support.advisory_locks import held_elsewhere
from tests.support.alerts import Evaluations, make_channel, make_rule, queued


@pytest.mark.usefixtures("transactional_db")
def test_a_rule_is_evaluated_at_its_interval_and_by_one_process() -> None:
    evaluations = Evaluations()
    make_rule(interval_seconds=30)
    assert evaluations.after(0, 1.0) == EvaluationPass(rules=1)
    assert evaluations.after(29, 1.0) == EvaluationPass()
    with held_elsewhere(AdvisoryLock.EVALUATE_ALERTS):
        assert evaluations.after(1, 1.0) == EvaluationPass()
    assert evaluations.after(0, 1.0) == EvaluationPass(rules=1)


@pytest.mark.usefixtures("transactional_db")
def test_the_thread_evaluates_with_the_database_s_time_what_the_samples_say() -> None:
    make_rule("long_queue", make_channel())
    GaugeSample.objects.create(metric="queue_depth", at=now(), value=11.0)
    done = threading.Event()
    evaluator = AlertEvaluator(first_seconds=0)
    finish = evaluator._run_pass

    def run_pass() -> None:
        finish()
        done.set()

    evaluator._run_pass = run_pass  # type: ignore[method-assign]
    evaluator.start()
    assert done.wait(10)
    evaluator.stop()
    assert not evaluator.is_alive()
    rule = AlertRule.objects.get()
    assert rule.evaluated_at is not None
    assert abs(rule.evaluated_at - now()) < timedelta(minutes=1)
    assert queued() == [("firing", "long_queue: Turns in the queue 11, above 10")]


@pytest.mark.usefixtures("transactional_db")
@pytest.mark.parametrize(
    ("error", "event"),
    [(OperationalError("gone"), "alert_rules.not_evaluated"), (ValueError("by chance"), "alert_rules.failed")],
)
def test_a_pass_that_fails_is_logged_and_another_follows(error: Exception, event: str) -> None:
    passes, enough = [], threading.Event()

    def fail() -> None:
        passes.append(1)
        if len(passes) == 2:
            enough.set()
        raise error

    with capture_logs() as logs:
        evaluator = AlertEvaluator(evaluate=fail, first_seconds=0, pass_seconds=0.01)
        evaluator.start()
        assert enough.wait(10)
        evaluator.stop()
    assert {entry["event"] for entry in logs} == {event}


@pytest.mark.django_db
def test_what_ended_long_ago_is_deleted_and_what_fires_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_retention, "BATCH", 1)
    evaluations = Evaluations()
    make_rule("full", make_channel(), group_by=["host"], grouping="alert")
    evaluations.at = now() - timedelta(days=91)
    evaluations.after(0, {"a": 11.0, "b": 11.0})
    evaluations.after(60, {"a": 11.0})
    Notification.objects.update(created_at=evaluations.at, state="sent")
    evaluations.after(3600 * 24 * 2, {"a": 11.0, "c": 11.0})  # a repeat, and one more that waits
    for days in (91, 89):
        begin = now() - timedelta(days=100)
        Silence.objects.create(reason="x", created_by="ada", starts_at=begin, ends_at=now() - timedelta(days=days))
    assert purge_alerts() == 4  # an alert, two of its notifications, a silence
    assert {alert.labels["host"] for alert in Alert.objects.all()} == {"a", "c"}
    assert sorted(row.kind for row in Notification.objects.all()) == ["firing", "firing", "repeat"]
    assert purge_alerts() == 0
