"""Alert rules over samples that a test writes, evaluated at times that it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.db import transaction

from monitoring.alerts.evaluator import EvaluationPass, evaluate_due_rules
from monitoring.alerts.label_sets import LabelSet, make_label_set
from monitoring.models import AlertRule, Notification, NotificationChannel

START: Final = datetime(2026, 3, 1, 8, tzinfo=UTC)
Series = Mapping[tuple[str, ...], float | None]


def make_channel(name: str = "team", **values: Any) -> NotificationChannel:
    return NotificationChannel.objects.create(**{"name": name, "kind": "webhook", **values})


def make_rule(name: str = "long_queue", *channels: NotificationChannel, **values: Any) -> AlertRule:
    """A rule on the depth of the queue: above 10."""
    rule = AlertRule.objects.create(
        **{"name": name, "metric": "queue_depth", "threshold": 10.0, "window_seconds": 0, **values}
    )
    rule.channels.set(channels)
    return rule


class Evaluations:
    """Passes over the rules at times of the test. A value is that of every rule, or of each name of a rule, or of each
    value of its label; an exception is raised."""

    def __init__(self) -> None:
        self.at = START
        self._values: Any = None

    def after(self, seconds: float, values: Any) -> EvaluationPass:
        """A pass `seconds` after the one before, with these values."""
        self.at += timedelta(seconds=seconds)
        self._values = values
        with transaction.atomic():
            return evaluate_due_rules(read_values=self._read, at=self.at)

    def _read(self, rule: AlertRule, _at: datetime) -> dict[LabelSet, float | None]:
        values = self._values
        if isinstance(values, dict) and rule.name in values:
            values = values[rule.name]
        if isinstance(values, Exception):
            raise values
        if isinstance(values, dict):
            [label] = rule.group_by
            return {make_label_set([(label, key)]): value for key, value in values.items()}
        return {(): values}


def queued() -> list[tuple[str, str]]:
    """Each notification in order: its kind, and its title."""
    return [(row.kind, row.content["title"]) for row in Notification.objects.order_by("id")]
