"""Which notifications the alerts of a rule give reason to, and when: grouped, repeated, held back by silences.

A group of alerts has one key from its first alert until none of it fires. People hear of an alert once, then at the
rule's repeat interval; of more alerts of a group at most once in `GROUP_SECONDS`; and of the group's end if they heard
of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.db.models import Q

from monitoring.alerts.alert_content import describe_alerts, describe_evaluation
from monitoring.alerts.suppression import Suppression, read_suppression
from monitoring.alerts.transitions import MAX_OPEN_ALERTS, RuleAlerts
from monitoring.models import Alert, AlertRule, Grouping, Notification, NotificationChannel
from monitoring.notifications.notification_content import NotificationContent
from monitoring.notifications.outbox import queue_notification

GROUP_SECONDS: Final = 60


def assign_group(outcome: RuleAlerts) -> None:
    """Give each alert that fires the key of its group."""
    shared: UUID | None = None
    if outcome.rule.grouping == Grouping.RULE:
        shared = next((alert.group_key for alert in [*outcome.firing, *outcome.resolved] if alert.group_key), None)
    for alert in outcome.firing:
        if alert.group_key is None:
            alert.group_key = shared or alert.pk
        if outcome.rule.grouping == Grouping.RULE:
            shared = alert.group_key


def queue_notifications(outcomes: Iterable[RuleAlerts], at: datetime) -> int:
    """Queue what the alerts of each rule give reason to, in the caller's transaction; return how many rows.

    The alerts are written already; of those that fire, `suppressed_by` and `notified_at` are written here.
    """
    concerned = [outcome for outcome in outcomes if outcome.firing or outcome.resolved]
    if not concerned:
        return 0
    suppression = read_suppression([outcome.rule for outcome in concerned], at)
    unheard = _read_unheard(concerned)
    queued = sum(_queue_for_rule(outcome, suppression, unheard, at) for outcome in concerned)
    alerts = [alert for outcome in concerned for alert in [*outcome.firing, *outcome.resolved]] + unheard
    Alert.objects.bulk_update(alerts, ["suppressed_by", "notified_at"])
    return queued


def queue_evaluation(rule: AlertRule, *, failing_at: datetime, error: str) -> int:
    """Queue that the rule cannot be evaluated because of `error`, or, with "", that it can be again; how many rows."""
    incident_key = f"{rule.pk}-evaluation-{int(failing_at.timestamp())}"
    content = describe_evaluation(rule, incident_key=incident_key, failing_at=failing_at, error=error)
    dedup_key = incident_key if error else f"{incident_key}-end"
    event = _Event(rule, Notification.Kind.EVALUATION_FAILED, dedup_key, content)
    return _queue(event, _channels_of(rule))


def _read_unheard(outcomes: Sequence[RuleAlerts]) -> list[Alert]:
    """Alerts that ended in an earlier pass before anybody heard of them, of groups that go on."""
    groups = {alert.group_key for outcome in outcomes for alert in [*outcome.firing, *outcome.resolved]}
    now_resolved = {alert.pk for outcome in outcomes for alert in outcome.resolved}
    rows = Alert.objects.filter(
        group_key__in=groups, state=Alert.State.RESOLVED, notified_at=None, suppressed_by=""
    ).select_related("rule")
    return [alert for alert in rows if alert.pk not in now_resolved]


def _queue_for_rule(outcome: RuleAlerts, suppression: Suppression, unheard: Sequence[Alert], at: datetime) -> int:
    rule = outcome.rule
    for alert in outcome.firing:
        alert.suppressed_by = suppression.reason(alert)
    queued = 0
    for key in dict.fromkeys(alert.group_key for alert in [*outcome.firing, *outcome.resolved]):
        assert key is not None
        firing, resolved, earlier = (
            [alert for alert in alerts if alert.group_key == key]
            for alerts in (outcome.firing, outcome.resolved, unheard)
        )
        if firing:
            queued += _queue_open(rule, key, firing, [*resolved, *earlier], at)
        else:
            queued += _queue_end(rule, key)
    return queued


def _queue_open(rule: AlertRule, key: UUID, firing: Sequence[Alert], resolved: Sequence[Alert], at: datetime) -> int:
    """Queue for a group of which something fires."""
    audible = [alert for alert in firing if not alert.suppressed_by]
    fresh = [alert for alert in [*audible, *resolved] if alert.notified_at is None and not alert.suppressed_by]
    last = max((alert.notified_at for alert in [*firing, *resolved] if alert.notified_at), default=None)
    if fresh and (last is None or at - last >= timedelta(seconds=GROUP_SECONDS)):
        kind = Notification.Kind.FIRING
    elif audible and last and rule.repeat_seconds and at - last >= timedelta(seconds=rule.repeat_seconds):
        kind = Notification.Kind.REPEAT
    else:
        return 0
    dedup_key = str(key) if last is None else f"{key}-{int(at.timestamp())}"
    over = [alert for alert in resolved if not alert.suppressed_by]
    content = describe_alerts(rule, group_key=key, firing=audible, resolved=over)
    queued = _queue(_Event(rule, kind, dedup_key, content, [*audible, *over]), _channels_of(rule))
    if queued:
        for alert in [*audible, *over]:
            alert.notified_at = at
    return queued


def _queue_end(rule: AlertRule, key: UUID) -> int:
    """Queue the end of a group to the channels that heard of it, whatever is silenced now: an incident that was
    opened somewhere is closed there."""
    members = Alert.objects.filter(group_key=key).exclude(Q(notified_at=None) & ~Q(suppressed_by=""))
    resolved = list(members.order_by("-id")[:MAX_OPEN_ALERTS])
    if not resolved:
        return 0
    channels = NotificationChannel.objects.filter(
        notifications__alerts__group_key=key,
        notifications__kind__in=[Notification.Kind.FIRING, Notification.Kind.REPEAT],
        enabled=True,
    ).distinct()
    content = describe_alerts(rule, group_key=key, firing=[], resolved=resolved)
    return _queue(_Event(rule, Notification.Kind.RESOLVED, str(key), content, resolved), channels)


def _channels_of(rule: AlertRule) -> list[NotificationChannel]:
    return list(rule.channels.filter(enabled=True))


@dataclass(frozen=True, slots=True)
class _Event:
    """What people are notified of, whichever channel tells them."""

    rule: AlertRule
    kind: Notification.Kind
    dedup_key: str
    content: NotificationContent
    alerts: Sequence[Alert] = ()


def _queue(event: _Event, channels: Iterable[NotificationChannel]) -> int:
    rows = [
        queue_notification(
            channel,
            kind=event.kind,
            dedup_key=event.dedup_key,
            content=event.content,
            rule=event.rule,
            alerts=event.alerts,
        )
        for channel in channels
    ]
    return sum(row is not None for row in rows)
