"""What new values do to the alerts of a rule: the rows of those that begin, go on and end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from monitoring.alerts.label_sets import LabelSet, make_label_set
from monitoring.alerts.rule_values import series_key
from monitoring.alerts.state_machine import INACTIVE, AlertState, AlertStatus, Change, Terms, evaluate, read_terms
from monitoring.models import Alert, AlertRule, Comparison

log = structlog.get_logger(__name__)

# A rule over labels with very many values opens no more alerts than this; those that are open go on.
MAX_OPEN_ALERTS: Final = 200
RULE_CHANGED: Final = "the rule was changed"
RULE_DISABLED: Final = "the rule was disabled"


@dataclass(slots=True)
class RuleAlerts:
    """The alerts of a rule in one pass: what is to be written, and what fires and has ended after it."""

    rule: AlertRule
    created: list[Alert] = field(default_factory=list)
    changed: list[Alert] = field(default_factory=list)
    deleted: list[Alert] = field(default_factory=list)
    firing: list[Alert] = field(default_factory=list)
    resolved: list[Alert] = field(default_factory=list)


def apply_values(
    rule: AlertRule, alerts: Iterable[Alert], values: Mapping[LabelSet, float | None], at: datetime
) -> RuleAlerts:
    """What the values of the time `at` make of a rule's open alerts. Writes nothing.

    An alert whose labels have no value any more is judged by the rule's policy for no data; one of a rule that measures
    something else by now ends.
    """
    terms, key, outcome = read_terms(rule), series_key(rule), RuleAlerts(rule)
    remaining = dict(values)
    if not rule.group_by:
        remaining.setdefault((), None)
    open_count = 0
    for alert in alerts:
        if alert.series_key != key:
            end_alert(alert, outcome, at, RULE_CHANGED)
            continue
        value = _finite(remaining.pop(make_label_set(alert.labels.items()), None))
        open_count += _go_on(alert, outcome, terms, value, at)
    for labels, value in sorted(remaining.items(), key=lambda item: item[0]):
        if open_count >= MAX_OPEN_ALERTS:
            log.warning("alert_rule.limited", rule=rule.name, open=open_count)
            break
        open_count += _begin(outcome, terms, labels, _finite(value), at)
    return outcome


def end_alert(alert: Alert, outcome: RuleAlerts, at: datetime, resolution: str) -> None:
    """End an open alert for another reason than its condition."""
    if alert.state == Alert.State.PENDING:
        outcome.deleted.append(alert)
    else:
        _resolve(alert, outcome, at, resolution)


def nearest_to_firing(rule: AlertRule, values: Sequence[float | None]) -> float | None:
    """Of several values, the one that is the first to fire; None where there is none."""
    numbers = [value for value in values if value is not None and math.isfinite(value)]
    is_upper = rule.comparison in {Comparison.ABOVE, Comparison.AT_LEAST}
    return (max if is_upper else min)(numbers, default=None)


def _go_on(alert: Alert, outcome: RuleAlerts, terms: Terms, value: float | None, at: datetime) -> bool:
    """Judge an open alert; return whether it still is."""
    status, change = evaluate(_read_status(alert, at), terms, value, at)
    if change is Change.DROPPED:
        outcome.deleted.append(alert)
        return False
    alert.value, alert.evaluated_at = status.value, at
    if change is Change.RESOLVED:
        _resolve(alert, outcome, at, "")
        return False
    _write_status(alert, status)
    outcome.changed.append(alert)
    if status.state is AlertState.FIRING:
        outcome.firing.append(alert)
    if change is Change.FIRING:
        _report(alert)
    return True


def _begin(outcome: RuleAlerts, terms: Terms, labels: LabelSet, value: float | None, at: datetime) -> bool:
    """Judge what has no alert; return whether it has one now."""
    status, change = evaluate(INACTIVE, terms, value, at)
    if change not in {Change.PENDING, Change.FIRING}:
        return False
    alert = Alert(
        rule=outcome.rule,
        series_key=series_key(outcome.rule),
        labels=dict(labels),
        value=status.value,
        evaluated_at=at,
    )
    _write_status(alert, status)
    outcome.created.append(alert)
    if change is Change.FIRING:
        outcome.firing.append(alert)
        _report(alert)
    return True


def _resolve(alert: Alert, outcome: RuleAlerts, at: datetime, resolution: str) -> None:
    alert.state, alert.resolved_at, alert.resolution = Alert.State.RESOLVED, at, resolution
    outcome.changed.append(alert)
    outcome.resolved.append(alert)
    log.info(
        "alert_rule.resolved", rule=outcome.rule.name, alert=str(alert.pk), labels=alert.labels, resolution=resolution
    )


def _report(alert: Alert) -> None:
    log.warning("alert_rule.fired", rule=alert.rule.name, alert=str(alert.pk), labels=alert.labels, value=alert.value)


def _read_status(alert: Alert, at: datetime) -> AlertStatus:
    """The state of a row. Where the database's clock was put back, the alert's times go back with it: what was waited
    for already counts, and the rest takes no longer."""
    shift = min(timedelta(), at - alert.evaluated_at)
    if shift:
        alert.pending_at += shift
        alert.firing_at = alert.firing_at and alert.firing_at + shift
        alert.clear_at = alert.clear_at and alert.clear_at + shift
        alert.notified_at = alert.notified_at and alert.notified_at + shift
    return AlertStatus(AlertState(alert.state), alert.pending_at, alert.firing_at, alert.clear_at, alert.value)


def _write_status(alert: Alert, status: AlertStatus) -> None:
    assert status.pending_at is not None
    alert.state = Alert.State(status.state.value)
    alert.pending_at, alert.firing_at, alert.clear_at = status.pending_at, status.firing_at, status.clear_at


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
