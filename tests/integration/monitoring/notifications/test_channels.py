"""Channels: who may do what, what is checked, and that a secret goes nowhere else."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.test import override_settings
from pydantic import SecretStr
from structlog.testing import capture_logs

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from foundation.clock import now
from foundation.errors import Conflict, Forbidden, InvalidInput, NotFound, PreconditionFailed
from monitoring.models import Alert, AlertRule, DeliveryAttempt, Notification, NotificationChannel
from monitoring.notifications.channel_input import ChannelInput, describe_address
from monitoring.notifications.channel_secrets import decrypt_secret, read_address, reencrypt_secrets
from monitoring.notifications.channels import SavedChannel, delete_channel, save_channel, send_test
from monitoring.notifications.notifier import deliver_due
from monitoring.notifications.resend import resend_notification
from tests.support.notifications import ROUTING_KEY, WEBHOOK_SECRET, Receiver, channel, queue, receiver
from tests.support.people import person

pytestmark = pytest.mark.django_db

Kind = NotificationChannel.Kind
SYSTEM = Actor.system("tests")
SLACK_URL = "https://hooks.slack.com/services/T000/B000/canary0secret0token"


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def save(kind: NotificationChannel.Kind = Kind.WEBHOOK, secret: str = "", **values: Any) -> SavedChannel:
    """Create a channel, or change the one called `on`."""
    on: NotificationChannel | None = values.pop("on", None)
    actor = values.pop("actor", SYSTEM)
    version = values.pop("version", on.version if on else None)
    defaults: dict[str, Any] = {"name": on.name if on else kind.value, "address": read_address(on) if on else ""}
    if kind is Kind.WEBHOOK and on is None:
        defaults["address"] = "https://hooks.example.org/1"
    return save_channel(
        actor,
        values=ChannelInput(kind=kind, **defaults | values),
        secret=secret,
        channel_id=on.pk if on else None,
        expected_version=version,
    )


def last_audit() -> AuditEntry:
    return AuditEntry.objects.latest("id")


def test_only_an_owner_decides_where_notifications_go() -> None:
    owner, operator = (user_actor(person(role.value, role)) for role in (Role.OWNER, Role.OPERATOR))
    row = save(actor=owner).channel
    for attempt in (lambda: save(actor=operator, on=row), lambda: delete_channel(operator, row.pk)):
        with pytest.raises(Forbidden):
            attempt()
    assert send_test(operator, row.pk).kind == Notification.Kind.TEST
    viewer = user_actor(person("viewer", Role.VIEWER))
    with pytest.raises(Forbidden):
        send_test(viewer, row.pk)
    with pytest.raises(Forbidden):
        resend_notification(viewer, Notification.objects.get().pk)


def test_a_webhook_gets_a_secret_that_is_shown_once() -> None:
    saved = save()
    assert saved.new_secret.startswith("whsec_")
    assert decrypt_secret(saved.channel) == saved.new_secret
    assert saved.new_secret not in saved.channel.secret + repr(saved)
    assert save(on=saved.channel, name="other").new_secret == ""
    saved.channel.refresh_from_db()
    assert decrypt_secret(saved.channel) == saved.new_secret


def test_another_origin_drops_the_secret_and_another_path_does_not() -> None:
    row = save(secret=WEBHOOK_SECRET).channel
    assert save(on=row, address="https://hooks.example.org/2").new_secret == ""
    row.refresh_from_db()
    assert decrypt_secret(row) == WEBHOOK_SECRET
    for address in ("https://hooks.example.org:8443/2", "https://evil.example.org/2"):
        made = save(on=row, address=address).new_secret
        row.refresh_from_db()
        assert made not in ("", WEBHOOK_SECRET)
        assert decrypt_secret(row) == made


def test_a_secret_beside_an_address_that_was_changed_in_the_row_is_not_used(there: Receiver) -> None:
    row = channel(Kind.WEBHOOK, there)
    NotificationChannel.objects.update(address="https://evil.example.org/1")
    queue(row)
    assert deliver_due() == 0
    assert "Enter address and secret again." in DeliveryAttempt.objects.get().error


def test_a_new_key_takes_over_the_secrets_of_the_previous_one() -> None:
    row = save(secret=WEBHOOK_SECRET).channel
    config = settings.BANDSTAND
    new = SecretStr(base64.urlsafe_b64encode(bytes(32)).decode())
    rotation = {"encryption_key": new, "encryption_key_previous": config.encryption_key}
    with override_settings(BANDSTAND=config.model_copy(update=rotation)):
        assert (reencrypt_secrets(), reencrypt_secrets()) == (2, 0)
    assert reencrypt_secrets() == 0
    with override_settings(BANDSTAND=config.model_copy(update={"encryption_key": new})):
        row.refresh_from_db()
        assert (decrypt_secret(row), read_address(row)) == (WEBHOOK_SECRET, "https://hooks.example.org/1")


def test_a_webhook_s_url_may_carry_a_token_and_is_encrypted(there: Receiver) -> None:
    url = f"{there.url}?token=canary0secret0token"
    row = save(address=url).channel
    assert describe_address(row) == there.origin
    stored = str(NotificationChannel.objects.filter(pk=row.pk).values())
    assert (read_address(row), "canary0" in stored, row.address) == (url, False, f"http://{there.origin}")
    before = row.url
    assert save(on=row).channel.url == before, "what stays is no change"
    queue(row)
    assert (deliver_due(), there.requests[0].path) == (1, "/hooks/1?token=canary0secret0token")
    row = save(on=row, address="https://hooks.example.org/2").channel
    assert describe_address(row) == "hooks.example.org"


def test_slack_s_address_is_a_secret_and_only_its_origin_is_shown() -> None:
    row = save(Kind.SLACK, SLACK_URL).channel
    assert (row.address, describe_address(row)) == ("https://hooks.slack.com:443", "hooks.slack.com")
    assert decrypt_secret(row) == SLACK_URL
    save(Kind.SLACK, on=row, enabled=False)
    row.refresh_from_db()
    assert (decrypt_secret(row), row.enabled) == (SLACK_URL, False)


def test_no_secret_stands_in_audit_logs_or_errors(there: Receiver) -> None:
    with capture_logs() as logs:
        slack = save(Kind.SLACK, f"http://{there.origin}/canary0secret0token").channel
        pagerduty = save(Kind.PAGERDUTY, ROUTING_KEY).channel
        for row, status, echo in ((slack, 500, "canary0secret0token"), (pagerduty, 400, ROUTING_KEY)):
            queue(row)
            there.refuse(status, echo.encode())
            deliver_due(channel_ids=[row.pk])
        with pytest.raises(InvalidInput) as refused:
            save(Kind.SLACK, "ftp://canary0secret0token", on=slack)
    texts = [str(logs), str(refused.value), *map(str, AuditEntry.objects.values_list("detail", flat=True))]
    texts += [str(row) for row in DeliveryAttempt.objects.values_list("error", flat=True)]
    texts += [str(list(NotificationChannel.objects.values())), str(list(Notification.objects.values()))]
    assert len(DeliveryAttempt.objects.all()) == 2
    for canary in ("canary0secret0token", ROUTING_KEY):
        assert not any(canary in text for text in texts)


@pytest.mark.parametrize(
    ("kind", "values", "secret", "pointer"),
    [
        (Kind.WEBHOOK, {"address": ""}, "", "/address"),
        (Kind.WEBHOOK, {"address": "http://hooks.example.org/1"}, "", "/address"),
        (Kind.WEBHOOK, {"address": "https://user:word@hooks.example.org/"}, "", "/address"),
        (Kind.WEBHOOK, {"address": "file:///etc/passwd"}, "", "/address"),
        (Kind.WEBHOOK, {"address": "https://2130706433/"}, "", "/address"),
        (Kind.WEBHOOK, {"address": "https://169.254.169.254/latest"}, "", "/address"),
        (Kind.WEBHOOK, {"address": "https://[::1]/"}, "", "/address"),
        (Kind.WEBHOOK, {"address": "https://hooks.example.org:5432/"}, "", "/address"),
        (Kind.WEBHOOK, {}, "whsec_short", "/secret"),
        (Kind.WEBHOOK, {"name": "A name"}, "", "/name"),
        (Kind.WEBHOOK, {"name": "a" * 61}, "", "/name"),
        (Kind.WEBHOOK, {"fallback_id": "00000000-0000-0000-0000-000000000001"}, "", "/fallback"),
        (Kind.SLACK, {}, "", "/secret"),
        (Kind.SLACK, {}, "http://hooks.slack.com/services/1", "/secret"),
        (Kind.PAGERDUTY, {}, "", "/secret"),
        (Kind.PAGERDUTY, {}, "short", "/secret"),
        (Kind.EMAIL, {}, "", "/address"),
        (Kind.EMAIL, {"address": "ada"}, "", "/address"),
        (Kind.EMAIL, {"address": "ada@example.org\nBcc:x@example.org"}, "", "/address"),
        (Kind.EMAIL, {"address": " ".join(f"a{n}@example.org" for n in range(21))}, "", "/address"),
        (Kind.EMAIL, {"address": "ada@example.org"}, "secret", "/secret"),
    ],
)
def test_bad_input_is_refused_where_it_stands(
    kind: NotificationChannel.Kind, values: dict[str, Any], secret: str, pointer: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        save(kind, secret, **values)
    assert refused.value.pointer == pointer
    assert not NotificationChannel.objects.exists()


def test_plain_http_is_for_hosts_of_the_environment(there: Receiver) -> None:
    assert read_address(save(address=there.url).channel) == there.url


def test_a_channel_that_is_switched_off_may_be_incomplete() -> None:
    row = save(Kind.SLACK, enabled=False).channel
    assert (row.address, row.secret) == ("", "")
    with pytest.raises(InvalidInput):
        save(Kind.SLACK, on=row, enabled=True)


def test_a_change_is_one_version_and_a_stale_one_is_refused() -> None:
    row = save(Kind.EMAIL, address="b@example.org, a@example.org\nb@example.org").channel
    assert row.address == "b@example.org\na@example.org"
    save(Kind.EMAIL, on=row, address="b@example.org")
    assert (last_audit().action, last_audit().detail) == (
        "notification_channel.changed",
        {"kind": "email", "fields": ["address"]},
    )
    entries = AuditEntry.objects.count()
    row.refresh_from_db()
    save(Kind.EMAIL, on=row)
    assert AuditEntry.objects.count() == entries
    with pytest.raises(PreconditionFailed):
        save(Kind.EMAIL, on=row, version=1)
    with pytest.raises(InvalidInput, match="keeps its kind"):
        save(Kind.WEBHOOK, on=row)
    with pytest.raises(InvalidInput, match="this name"):
        save(Kind.WEBHOOK, name="email")


def test_a_channel_in_use_is_not_deleted() -> None:
    row = save().channel
    other = save(name="other", fallback_id=row.pk).channel
    rule = AlertRule.objects.create(name="slow", metric="m", threshold=1)
    rule.channels.add(row)
    with pytest.raises(Conflict, match="the rule slow, the channel other"):
        delete_channel(SYSTEM, row.pk)
    rule.channels.clear()
    delete_channel(SYSTEM, other.pk)
    waiting = queue(row)
    with pytest.raises(Conflict, match="wait for it"):
        delete_channel(SYSTEM, row.pk)
    Notification.objects.filter(pk=waiting.pk).update(state="sent")
    alert = Alert.objects.create(rule=rule, state="firing", pending_at=now(), firing_at=now(), evaluated_at=now())
    waiting.alerts.add(alert)
    with pytest.raises(Conflict, match="is open"):
        delete_channel(SYSTEM, row.pk)
    Alert.objects.update(state="resolved", resolved_at=now())
    delete_channel(SYSTEM, row.pk)
    assert last_audit().action == "notification_channel.deleted"
    with pytest.raises(NotFound):
        delete_channel(SYSTEM, row.pk)


def test_the_channel_of_the_validator_is_nobody_s() -> None:
    row = channel(Kind.WEBHOOK, for_tests=True)
    for attempt in (lambda: save(on=row), lambda: send_test(SYSTEM, row.pk), lambda: delete_channel(SYSTEM, row.pk)):
        with pytest.raises(NotFound):
            attempt()
    with pytest.raises(InvalidInput):
        save(name="other", fallback_id=row.pk)


def test_a_test_is_sent_once_and_not_retried(there: Receiver) -> None:
    row = channel(Kind.WEBHOOK, there, fallback=channel(Kind.SLACK, there))
    test = send_test(SYSTEM, row.pk)
    with pytest.raises(Conflict, match="under way"):
        send_test(SYSTEM, row.pk)
    there.refuse(503)
    assert deliver_due() == 0
    test.refresh_from_db()
    assert (test.state, test.requested_by, Notification.objects.count()) == ("failed", "system:tests", 1)
    send_test(SYSTEM, row.pk)
    assert deliver_due() == 1
    assert there.requests[-1].json["data"]["severity"] == "info"


def test_a_notification_is_sent_again_with_the_same_id(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    with pytest.raises(Conflict, match="waits to be sent already"):
        resend_notification(SYSTEM, row.pk)
    deliver_due()
    again = resend_notification(SYSTEM, row.pk)
    with pytest.raises(Conflict, match="sent again already"):
        resend_notification(SYSTEM, row.pk)
    assert deliver_due() == 1
    assert [request.headers["webhook-id"] for request in there.requests] == ["firing-event-1"] * 2
    assert (again.requested_by, last_audit().action) == ("system:tests", "notification.resent")
    NotificationChannel.objects.update(enabled=False)
    with pytest.raises(Conflict, match="switched off"):
        resend_notification(SYSTEM, again.pk)


def test_nothing_opens_an_incident_again_that_is_over(there: Receiver) -> None:
    row = queue(channel(Kind.PAGERDUTY, there))
    rule = AlertRule.objects.create(name="slow", metric="m", threshold=1)
    at = now()
    alert = Alert.objects.create(rule=rule, state="firing", pending_at=at, firing_at=at, evaluated_at=at)
    row.alerts.add(alert)
    deliver_due()
    assert resend_notification(SYSTEM, row.pk).alerts.get() == alert
    deliver_due()
    Alert.objects.update(state="resolved", resolved_at=at)
    with pytest.raises(Conflict, match="nothing closes"):
        resend_notification(SYSTEM, row.pk)
