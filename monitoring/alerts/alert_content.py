"""What notifications say of alerts: built once, when they are queued."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from django.conf import settings

from monitoring.alerts.alert_descriptions import (
    describe_condition,
    describe_labels,
    format_alert_value,
    format_metric_value,
    metric_title,
)
from monitoring.models import Alert, AlertRule, Comparison
from monitoring.notifications.notification_content import MAX_ALERTS, AlertContent, ContentState, NotificationContent

# Where the runbook has what to do about a rule that cannot be evaluated.
EVALUATION_RUNBOOK: Final = "/admin/runbooks/#evaluation_failed"


def describe_alerts(
    rule: AlertRule, *, group_key: UUID, firing: Sequence[Alert], resolved: Sequence[Alert]
) -> NotificationContent:
    """What is said of the alerts of a group: those that fire, and those that have ended since the last notification.
    Without any that fires, the group has ended."""
    alerts = [*firing, *resolved]
    first = min(alerts, key=lambda alert: alert.firing_at or alert.pending_at)
    value = first.value if len(alerts) == 1 else None
    return NotificationContent(
        title=_title(rule, firing, resolved),
        state=ContentState.FIRING if firing else ContentState.RESOLVED,
        severity=rule.severity,
        incident_key=str(group_key),
        rule=rule.name,
        description=rule.description,
        condition=describe_condition(rule),
        value=value,
        value_text="" if value is None else format_alert_value(first),
        threshold=rule.threshold,
        threshold_text=_format_value(rule, rule.threshold),
        since=first.pending_at,
        alerts=tuple(_describe_alert(alert) for alert in alerts[:MAX_ALERTS]),
        alerts_count=len(alerts),
        url=alert_url(first.pk) if len(alerts) == 1 else alerts_url(rule),
        runbook_url=runbook_url(rule),
    )


def describe_evaluation(rule: AlertRule, *, incident_key: str, failing_at: datetime, error: str) -> NotificationContent:
    """What is said of a rule that cannot be evaluated because of `error`; "" for one that can be again, or that is
    switched off."""
    is_failing = bool(error)
    end = ("can be evaluated again", "Its alerts are up to date again.")
    if not rule.enabled:
        end = ("is switched off", "It could not be evaluated, and is not any more.")
    title = f"{rule.name}: {'cannot be evaluated' if is_failing else end[0]}"
    return NotificationContent(
        title=title,
        state=ContentState.FIRING if is_failing else ContentState.RESOLVED,
        severity=rule.severity,
        incident_key=incident_key,
        rule=rule.name,
        description=error or end[1],
        condition=describe_condition(rule),
        since=failing_at,
        url=rule_url(rule),
        runbook_url=_absolute(EVALUATION_RUNBOOK),
    )


def alert_url(alert_id: UUID) -> str:
    """The address of an alert's page."""
    return _absolute(f"/admin/monitoring/alert/{alert_id}/change/")


def alerts_url(rule: AlertRule) -> str:
    """The address of the list of a rule's alerts."""
    return _absolute(f"/admin/monitoring/alert/?rule={rule.pk}")


def rule_url(rule: AlertRule) -> str:
    """The address of a rule's page."""
    return _absolute(f"/admin/monitoring/alertrule/{rule.pk}/change/")


def runbook_url(rule: AlertRule) -> str:
    """The address of what to do; "" where the rule names none."""
    return _absolute(rule.runbook_url) if rule.runbook_url.startswith("/") else rule.runbook_url


def _absolute(path: str) -> str:
    # A runner has no console, so that the address is not looked up; a test compares.
    return f"{settings.BANDSTAND.base_url}{path}"


def _title(rule: AlertRule, firing: Sequence[Alert], resolved: Sequence[Alert]) -> str:
    alerts = firing or resolved
    if len(alerts) > 1:
        return f"{rule.name}: {len(alerts)} alerts {'fire' if firing else 'have ended'}"
    [alert] = alerts
    subject = f"{rule.name} ({describe_labels(alert.labels)})" if alert.labels else rule.name
    if not firing:
        return f"{subject}: has ended" + (f", {alert.resolution}" if alert.resolution else "")
    value = _format_value(rule, alert.value) or "no data"
    threshold = f"{Comparison(rule.comparison).label} {_format_value(rule, rule.threshold)}"
    return f"{subject}: {metric_title(rule.metric)} {value}, {threshold}"


def _describe_alert(alert: Alert) -> AlertContent:
    return AlertContent(
        id=str(alert.pk),
        labels=alert.labels,
        state=ContentState(alert.state),
        value=alert.value,
        value_text="" if alert.value is None else format_alert_value(alert),
        firing_at=alert.firing_at,
        resolved_at=alert.resolved_at,
        url=alert_url(alert.pk),
    )


def _format_value(rule: AlertRule, value: float | None) -> str:
    return "" if value is None else format_metric_value(rule.metric, value)
