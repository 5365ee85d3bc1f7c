"""Evaluation of alert rules: the rows of alerts and notifications after each pass."""

from __future__ import annotations

import pytest

from monitoring.models import Alert, AlertRule, Notification
from tests.support.alerts import Evaluations, make_channel, make_rule, queued

pytestmark = pytest.mark.django_db


@pytest.fixture
def evaluations() -> Evaluations:
    return Evaluations()


def states() -> list[str]:
    return [alert.state for alert in Alert.objects.order_by("id")]


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
    assert queued() == [("firing", "long_queue: 13, above 10"), ("resolved", "long_queue: has ended")]
    alert = Alert.objects.get()
    assert {row.content["incident_key"] for row in Notification.objects.all()} == {str(alert.pk)}
    assert [list(row.alerts.all()) for row in Notification.objects.all()] == [[alert], [alert]]
    assert AlertRule.objects.get().value == 5.0
