"""Which notifications the alerts of a rule give reason to, and when: grouped, repeated, held back by silences.

A group of alerts has one key from its first alert until none of it fires. People hear of an alert once, then at the
rule's repeat interval; of more alerts of a group at most once in `GROUP_SECONDS`; and of the group's end if they heard
of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.db.models import Max, Q, QuerySet

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
    groups = {alert.group_key for outcome in concerned for alert in [*outcome.firing, *outcome.resolved]}
    unheard = _read_unheard(concerned, groups)
    past = _Past(unheard, _read_heard(groups, at))
    queued = sum(_queue_for_rule(outcome, suppression, past, at) for outcome in concerned)
    alerts = [alert for outcome in concerned for alert in [*outcome.firing, *outcome.resolved]] + unheard
    Alert.objects.bulk_update(alerts, ["suppressed_by", "notified_at"])
    return queued


def queue_evaluation(rule: AlertRule, *, failing_at: datetime, error: str) -> int:
    """Queue that the rule cannot be evaluated because of `error`, or, with "", that it can be again; how many rows."""
    incident_key = f"{rule.pk}-evaluation-{int(failing_at.timestamp())}"
    content = describe_evaluation(rule, incident_key=incident_key, failing_at=failing_at, error=error)
    dedup_key = incident_key if error else f"{incident_key}-end"
    event = _Event(rule, Notification.Kind.EVALUATION_FAILED, dedup_key, content)
    beginnings = {"rule": rule, "kind": event.kind, "dedup_key": incident_key}
    return _queue(event, _channels_of(rule) if error else _channels_with(**beginnings))


def _read_unheard(outcomes: Sequence[RuleAlerts], groups: Collection[UUID | None]) -> list[Alert]:
    """Alerts that ended in an earlier pass before anybody heard of them, of groups that go on."""
    now_resolved = {alert.pk for outcome in outcomes for alert in outcome.resolved}
    rows = Alert.objects.filter(
        group_key__in=groups, state=Alert.State.RESOLVED, notified_at=None, suppressed_by=""
    ).select_related("rule")
    return [alert for alert in rows if alert.pk not in now_resolved]


def _read_heard(groups: Collection[UUID | None], at: datetime) -> dict[UUID | None, datetime | None]:
    """The groups that people have heard of, and when they last did, also of alerts that have ended since; None where
    the clock was put back to before it."""
    rows = Alert.objects.filter(group_key__in=groups, notified_at__isnull=False).values("group_key").order_by()
    last = Max("notified_at", filter=Q(notified_at__lte=at))
    return {row["group_key"]: row["last"] for row in rows.annotate(last=last)}


@dataclass(frozen=True, slots=True)
class _Past:
    """What `_read_unheard` and `_read_heard` return."""

    unheard: Sequence[Alert]
    heard: Mapping[UUID | None, datetime | None]


def _queue_for_rule(outcome: RuleAlerts, suppression: Suppression, past: _Past, at: datetime) -> int:
    rule = outcome.rule
    for alert in outcome.firing:
        alert.suppressed_by = suppression.reason(alert)
    queued = 0
    for key in dict.fromkeys(alert.group_key for alert in [*outcome.firing, *outcome.resolved]):
        assert key is not None
        firing, resolved, earlier = (
            [alert for alert in alerts if alert.group_key == key]
            for alerts in (outcome.firing, outcome.resolved, past.unheard)
        )
        if firing:
            dedup_key = f"{key}-{int(at.timestamp())}" if key in past.heard else str(key)
            group = _Group(key, dedup_key, past.heard.get(key), firing, [*resolved, *earlier])
            queued += _queue_open(rule, group, at)
        else:
            queued += _queue_end(rule, key)
    return queued


@dataclass(frozen=True, slots=True)
class _Group:
    """The alerts of a group that fire, and those to be reported as ended; `last` is when people heard of the group."""

    key: UUID
    dedup_key: str
    last: datetime | None
    firing: Sequence[Alert]
    resolved: Sequence[Alert]


def _queue_open(rule: AlertRule, group: _Group, at: datetime) -> int:
    """Queue for a group of which something fires."""
    last = group.last
    audible = [alert for alert in group.firing if not alert.suppressed_by]
    over = [alert for alert in group.resolved if not alert.suppressed_by]
    is_fresh = any(alert.notified_at is None for alert in [*audible, *over])
    if is_fresh and (last is None or at - last >= timedelta(seconds=GROUP_SECONDS)):
        kind = Notification.Kind.FIRING
    elif audible and last and rule.repeat_seconds and at - last >= timedelta(seconds=rule.repeat_seconds):
        kind = Notification.Kind.REPEAT
    else:
        return 0
    content = describe_alerts(rule, group_key=group.key, firing=audible, resolved=over)
    queued = _queue(_Event(rule, kind, group.dedup_key, content, [*audible, *over]), _channels_of(rule))
    if queued:
        for alert in [*audible, *over]:
            alert.notified_at = at
    return queued


def _queue_end(rule: AlertRule, key: UUID) -> int:
    """Queue the end of a group to the channels that heard of it, whatever is silenced now: an incident that was
    opened somewhere is closed there."""
    members = Alert.objects.filter(group_key=key).exclude(Q(notified_at=None) & ~Q(suppressed_by=""))
    resolved = list(members.select_related("rule").order_by("-id")[:MAX_OPEN_ALERTS])
    if not resolved:
        return 0
    channels = _channels_with(alerts__group_key=key, kind__in=[Notification.Kind.FIRING, Notification.Kind.REPEAT])
    content = describe_alerts(rule, group_key=key, firing=[], resolved=resolved)
    return _queue(_Event(rule, Notification.Kind.RESOLVED, str(key), content, resolved), channels)


def _channels_of(rule: AlertRule) -> list[NotificationChannel]:
    return list(rule.channels.filter(enabled=True))


def _channels_with(**beginnings: Any) -> QuerySet[NotificationChannel]:
    """The channels of the notifications that match: those that are enabled, and those that were sent one. The outbox
    holds what it cannot deliver to a channel that is switched off."""
    rows = Notification.objects.filter(Q(channel__enabled=True) | Q(state=Notification.State.SENT), **beginnings)
    return NotificationChannel.objects.filter(pk__in=rows.values("channel"))


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
