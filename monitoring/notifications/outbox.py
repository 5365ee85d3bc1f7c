"""The outbox: notifications as rows of the transaction that they report."""

from __future__ import annotations

from collections.abc import Iterable

from monitoring.models import Alert, AlertRule, Notification, NotificationChannel
from monitoring.notifications.content import NotificationContent


def queue_notification(
    channel: NotificationChannel,
    *,
    kind: Notification.Kind,
    dedup_key: str,
    content: NotificationContent,
    rule: AlertRule | None = None,
    alerts: Iterable[Alert] = (),
) -> Notification | None:
    """Queue a notification in the caller's transaction; None where it is queued already."""
    if Notification.objects.filter(channel=channel, kind=kind, dedup_key=dedup_key, requested_by="").exists():
        return None
    row = Notification.objects.create(
        channel=channel, kind=kind, dedup_key=dedup_key, content=content.dump(), rule=rule
    )
    row.alerts.set(alerts)
    return row
