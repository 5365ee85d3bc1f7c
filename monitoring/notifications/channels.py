"""Create, change, delete and test channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.encryption import SecretUnreadable
from foundation.errors import Conflict, InvalidInput, NotFound, PreconditionFailed
from foundation.ids import new_id
from monitoring.models import AlertRule, Notification, NotificationChannel
from monitoring.notifications.channel_input import ChannelInput, check_address, check_name, check_secret
from monitoring.notifications.channel_secrets import (
    encrypt_secret,
    has_secret_for,
    origin_of,
    read_address,
    set_webhook_url,
)
from monitoring.notifications.notification_content import NotificationContent
from monitoring.notifications.outbox import queue_held_notifications, queue_notification
from monitoring.notifications.senders.webhook import make_secret
from monitoring.role_permissions import ADD_CHANNEL, CHANGE_CHANNEL, DELETE_CHANNEL, TEST_CHANNEL

Kind = NotificationChannel.Kind
_FIELDS: Final = ("name", "kind", "address", "url", "enabled", "fallback_id", "secret")


@dataclass(frozen=True, slots=True)
class SavedChannel:
    """`new_secret` was made for a webhook: show it once, its receiver needs it. Else it is ""."""

    channel: NotificationChannel
    new_secret: str = field(default="", repr=False)


@transaction.atomic
def save_channel(
    actor: Actor,
    *,
    values: ChannelInput,
    secret: str = "",
    channel_id: UUID | None = None,
    expected_version: int | None = None,
) -> SavedChannel:
    """Create a channel, or change `channel_id`, and return it.

    One that is switched on is sent the ends that were held for it. An empty `secret` leaves the present one, unless the
    address now leads to another origin: then it is dropped. A webhook without one gets a new one. Raises `Forbidden`,
    `NotFound`, `PreconditionFailed` for a stale version, and `InvalidInput`, also for a channel that is switched on and
    not complete.
    """
    require_permission(actor, CHANGE_CHANNEL if channel_id else ADD_CHANNEL)
    channel = NotificationChannel() if channel_id is None else _lock_channel(channel_id)
    if channel_id is not None and expected_version not in (None, channel.version):
        raise PreconditionFailed
    if channel_id is not None and channel.kind != values.kind:
        raise InvalidInput("A channel keeps its kind: make another one.", pointer="/kind")
    before = {name: getattr(channel, name) for name in _FIELDS}
    channel.name, channel.kind = check_name(values.name), values.kind
    _set_address(channel, check_address(values.kind, values.address))
    channel.enabled = values.enabled
    channel.fallback = _find_fallback(channel, values.fallback_id)
    new_secret = _set_secret(channel, secret)
    if channel.enabled:
        _require_complete(channel)
    changed = [name for name in _FIELDS if getattr(channel, name) != before[name]]
    if channel_id is not None and not changed:
        return SavedChannel(channel)
    channel.version += 0 if channel_id is None else 1
    _store(channel, is_new=channel_id is None)
    if channel.enabled and not before["enabled"]:
        queue_held_notifications(channel)
    action = "notification_channel.created" if channel_id is None else "notification_channel.changed"
    record_audit(actor, action, target=channel, detail={"kind": channel.kind, "fields": changed})
    return SavedChannel(channel, new_secret)


@transaction.atomic
def delete_channel(actor: Actor, channel_id: UUID) -> None:
    """Delete a channel with the log of its deliveries. Raises `Forbidden`, `NotFound`, and `Conflict` while a rule or
    another channel uses it, a notification waits for it, or an alert is open that it has told of: nothing would close
    the incident there."""
    require_permission(actor, DELETE_CHANNEL)
    channel = _lock_channel(channel_id)
    users = [f"the rule {rule.name}" for rule in AlertRule.objects.filter(channels=channel)]
    users += [f"the channel {other.name}" for other in NotificationChannel.objects.filter(fallback=channel)]
    if users:
        raise Conflict(f"It is used by {', '.join(users)}: take it away there first, or switch it off.")
    if Notification.objects.filter(channel=channel, state=Notification.State.WAITING).exists():
        raise Conflict("Notifications wait for it: switch it off, and its fallback takes them.")
    sent = Notification.objects.filter(channel=channel, state=Notification.State.SENT)
    if sent.filter(alerts__isnull=False, alerts__resolved_at=None).exists():
        raise Conflict("An alert that it was notified of is open: delete the channel when it was notified of the end.")
    record_audit(actor, "notification_channel.deleted", target=channel, detail={"kind": channel.kind})
    channel.delete()


@transaction.atomic
def send_test(actor: Actor, channel_id: UUID) -> Notification:
    """Queue a notification that says it is a test, and return it; the notifier sends it within seconds, once.

    It is sent to a channel that is switched off, too. Raises `Forbidden`, `NotFound`, and `Conflict` while an earlier
    test waits.
    """
    require_permission(actor, TEST_CHANNEL)
    channel = _lock_channel(channel_id)
    tests = Notification.objects.filter(channel=channel, kind=Notification.Kind.TEST, state=Notification.State.WAITING)
    if tests.exists():
        raise Conflict("A test is under way: its outcome is in the list of notifications in a moment.")
    key = str(new_id())
    home = settings.BANDSTAND.base_url
    content = NotificationContent(
        title=f"{actor.name} tests the channel {channel.name}, and nothing is wrong",
        incident_key=key,
        severity="info",
        description=f"Notifications of alerts at {home} come this way.",
        url=f"{home}/admin/",
    )
    notification = queue_notification(
        channel, kind=Notification.Kind.TEST, dedup_key=key, content=content, requested_by=actor.name
    )
    assert notification is not None
    record_audit(actor, "notification_channel.tested", target=channel)
    return notification


def _lock_channel(channel_id: UUID) -> NotificationChannel:
    channel = (
        NotificationChannel.objects.select_for_update(no_key=True, of=("self",))
        .filter(pk=channel_id, for_tests=False)
        .first()
    )
    if channel is None:
        raise NotFound("There is no such channel.")
    return channel


def _set_address(channel: NotificationChannel, address: str) -> None:
    """Set what was entered; for Slack nothing is, since its address is the origin of its secret."""
    kind = Kind(channel.kind)
    if kind is Kind.WEBHOOK:
        # One that stays keeps its text, which encrypted anew would be another one.
        if not address or address != _stored_url(channel):
            set_webhook_url(channel, address)
    elif kind is not Kind.SLACK:
        channel.address = address


def _stored_url(channel: NotificationChannel) -> str:
    """The URL of a webhook, "" if its key is gone."""
    try:
        return read_address(channel)
    except SecretUnreadable:
        return ""


def _find_fallback(channel: NotificationChannel, fallback_id: UUID | None) -> NotificationChannel | None:
    if fallback_id is None:
        return None
    fallback = NotificationChannel.objects.filter(pk=fallback_id, for_tests=False).exclude(pk=channel.pk).first()
    if fallback is None:
        raise InvalidInput("The fallback is another channel.", pointer="/fallback")
    return fallback


def _set_secret(channel: NotificationChannel, secret: str) -> str:
    """Set or drop the secret; return one that was made."""
    kind = Kind(channel.kind)
    made = ""
    if secret.strip():
        secret = check_secret(kind, secret)
        if kind is Kind.SLACK:
            channel.address = origin_of(secret)
    elif channel.secret and has_secret_for(channel):
        return ""
    elif kind is Kind.WEBHOOK and channel.address:
        secret = made = make_secret()
    channel.secret = encrypt_secret(channel, secret) if secret else ""
    return made


def _require_complete(channel: NotificationChannel) -> None:
    kind = Kind(channel.kind)
    if kind in (Kind.EMAIL, Kind.WEBHOOK) and not channel.address:
        raise InvalidInput("A channel that is switched on needs an address.", pointer="/address")
    if kind is not Kind.EMAIL and not channel.secret:
        raise InvalidInput("A channel that is switched on needs its secret.", pointer="/secret")


def _store(channel: NotificationChannel, *, is_new: bool) -> None:
    try:
        with transaction.atomic():
            if is_new:
                channel.save(force_insert=True)
            else:
                # The notifier's columns stay as they are.
                channel.save(update_fields=["name", "address", "url", "enabled", "fallback", "secret", "version"])
    except IntegrityError:
        raise InvalidInput("Another channel has this name.", pointer="/name") from None
