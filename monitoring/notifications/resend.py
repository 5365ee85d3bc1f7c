"""Send a notification again."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.errors import Conflict, NotFound
from monitoring.models import Notification, NotificationChannel
from monitoring.notifications.notification_content import ContentState, NotificationContent
from monitoring.notifications.outbox import queue_notification
from monitoring.role_permissions import RESEND_NOTIFICATION


@transaction.atomic
def resend_notification(actor: Actor, notification_id: UUID) -> Notification:
    """Queue what a notification said for its channel once more, with the same id for receivers, and return the new row.

    Raises `Forbidden`, `NotFound`, and `Conflict` for one that still waits, for a channel that is switched off, and
    where it would open an incident at PagerDuty that is over and that nothing would close.
    """
    require_permission(actor, RESEND_NOTIFICATION)
    rows = Notification.objects.select_for_update(no_key=True, of=("self",)).select_related("channel", "rule")
    row = rows.filter(pk=notification_id, channel__for_tests=False).first()
    if row is None:
        raise NotFound("There is no such notification.")
    _check(row)
    content = NotificationContent.parse(row.content)
    queued = queue_notification(
        row.channel,
        kind=Notification.Kind(row.kind),
        dedup_key=row.dedup_key,
        content=content,
        rule=row.rule,
        alerts=row.alerts.all(),
        requested_by=actor.name,
    )
    assert queued is not None
    record_audit(
        actor, "notification.resent", target=row, detail={"channel": row.channel.name, "notification": str(queued.pk)}
    )
    return queued


def _check(row: Notification) -> None:
    if row.state == Notification.State.WAITING:
        raise Conflict("It waits to be sent already.")
    again = Notification.objects.filter(
        channel=row.channel, dedup_key=row.dedup_key, kind=row.kind, state=Notification.State.WAITING
    )
    if again.exists():
        raise Conflict("It waits to be sent again already.")
    if not row.channel.enabled:
        raise Conflict("Its channel is switched off.")
    is_open = row.alerts.filter(resolved_at=None).exists() or not row.alerts.exists()
    is_beginning = row.content.get("state") == ContentState.FIRING
    if row.channel.kind == NotificationChannel.Kind.PAGERDUTY and is_beginning and not is_open:
        raise Conflict("The alert is over: PagerDuty would open an incident that nothing closes.")
