"""The pages of channels and notifications: secrets are written and never shown, tests and repeats are sent."""

from __future__ import annotations

from typing import Any

import pytest

from accounts.models import AuditEntry
from accounts.roles import Role
from monitoring.models import DeliveryAttempt, Notification, NotificationChannel
from monitoring.notifications.channel_secrets import decrypt_secret
from tests.end_to_end.monitoring.admin.test_alert_rules import make_rule, text_of
from tests.support.consoles import button_of, changelist_of, client_of, confirmed, fields_of, list_of, page_of
from tests.support.notifications import ROUTING_KEY, WEBHOOK_SECRET

pytestmark = pytest.mark.django_db

ADD = "/admin/monitoring/notificationchannel/add/"
SLACK = "https://hooks.slack.com/services/T0/B0/verysecret"


def add(client: Any, **values: str) -> Any:
    fields = fields_of(client.get(ADD).context["form"])
    return client.post(ADD, {**fields, "name": "ops", **values}, follow=True)


def make_notification(channel: NotificationChannel, **values: Any) -> Notification:
    fields = {
        "kind": "firing",
        "dedup_key": "a",
        "content": {"title": "Many turns fail", "incident_key": "a"},
        "state": "sent",
    }
    return Notification.objects.create(channel=channel, **{**fields, **values})


def test_an_owner_adds_a_channel_of_each_kind_and_no_page_has_a_secret() -> None:
    owner = client_of("olga", Role.OWNER)
    add(owner, name="mail", kind="email", address="a@example.org\nb@example.org")
    add(owner, name="chat", kind="slack", secret=SLACK)
    add(owner, name="pager", kind="pagerduty", secret=ROUTING_KEY)
    page = text_of(add(owner, name="hook", kind="webhook", address="https://example.org/in?token=t0ken"))
    made = decrypt_secret(NotificationChannel.objects.get(name="hook"))
    assert made.startswith("whsec_")
    assert made in page, "a key that was made is shown once"
    channels = {channel.name: channel for channel in NotificationChannel.objects.all()}
    assert set(channels) == {"mail", "chat", "pager", "hook"}
    assert decrypt_secret(channels["chat"]) == SLACK
    pages = [text_of(owner.get(list_of(NotificationChannel)))]
    pages += [text_of(owner.get(page_of(channel))) for channel in channels.values()]
    for secret in ("verysecret", ROUTING_KEY, made, channels["chat"].secret):
        assert not any(secret in page for page in pages)
    assert "a@example.org, b@example.org" in pages[0]
    assert "hooks.slack.com" in pages[0]
    assert "t0ken" not in pages[0]


def test_what_is_wrong_with_a_channel_is_said_at_its_field() -> None:
    owner = client_of("olga", Role.OWNER)
    for values, name in [
        ({"kind": "email", "address": "nobody"}, "address"),
        ({"kind": "email"}, "address"),
        ({"kind": "slack"}, "secret"),
        ({"kind": "pagerduty", "secret": "short"}, "secret"),
        ({"kind": "webhook", "address": "http://10.0.0.1/"}, "address"),
        ({"name": "Not a name", "kind": "email", "address": "a@example.org"}, "name"),
    ]:
        assert list(add(owner, **values).context["form"].errors) == [name], values
    assert not NotificationChannel.objects.exists()


def test_a_secret_stays_when_nothing_is_written_and_goes_with_its_origin() -> None:
    owner = client_of("olga", Role.OWNER)
    add(owner, kind="webhook", address="https://one.example.org/in", secret=WEBHOOK_SECRET)
    channel = NotificationChannel.objects.get()
    fields = fields_of(owner.get(page_of(channel)).context["form"])
    assert "secret" not in fields
    owner.post(page_of(channel), fields | {"address": "https://one.example.org/other", "enabled": "on"})
    assert decrypt_secret(NotificationChannel.objects.get()) == WEBHOOK_SECRET
    fields = fields_of(owner.get(page_of(channel)).context["form"])
    page = text_of(owner.post(page_of(channel), fields | {"address": "https://two.example.org/in"}))
    made = decrypt_secret(NotificationChannel.objects.get())
    assert made != WEBHOOK_SECRET
    assert made in page
    fields["version"] = "1"
    page = text_of(owner.post(page_of(channel), fields | {"name": "other"}))
    assert "Changed by olga" in page


def test_operators_see_and_test_channels_and_only_owners_change_them() -> None:
    channel = NotificationChannel.objects.create(name="ops", kind="email", address="a@example.org")
    probe = NotificationChannel.objects.create(name="probe", kind="webhook", for_tests=True)
    operator = client_of("oskar", Role.OPERATOR)
    assert "probe" not in text_of(operator.get(list_of(NotificationChannel)))
    assert operator.get(page_of(probe)).status_code == 302
    page = text_of(operator.get(page_of(channel)))
    assert "Send test" in page
    assert "Owners change channels." in page
    assert operator.post(page_of(channel), {"name": "x"}).status_code == 403
    assert operator.get(ADD).status_code == 403
    page = text_of(confirmed(operator, button_of(channel, "test")))
    assert "oskar tests the channel ops" in page
    assert Notification.objects.get().kind == "test"
    assert "A test is under way" in text_of(confirmed(operator, button_of(channel, "test")))
    assert AuditEntry.objects.filter(action="notification_channel.tested").count() == 1


def test_a_channel_that_a_rule_uses_is_not_deleted() -> None:
    channel = NotificationChannel.objects.create(name="ops", kind="email", address="a@example.org")
    rule = make_rule()
    rule.channels.add(channel)
    owner = client_of("olga", Role.OWNER)
    assert "the rule high_error_rate" in text_of(confirmed(owner, button_of(channel, "remove")))
    rule.channels.clear()
    confirmed(owner, button_of(channel, "remove"))
    assert not NotificationChannel.objects.exists()


def test_the_log_of_deliveries_says_what_came_of_each_attempt() -> None:
    channel = NotificationChannel.objects.create(name="ops", kind="email", address="a@example.org")
    failed = make_notification(channel, state="failed", attempts=1, rule=make_rule())
    DeliveryAttempt.objects.create(notification=failed, succeeded=False, status_code=503, error="The receiver is down")
    instead = make_notification(channel, dedup_key="b", replaces=failed)
    viewer = client_of("vera", Role.VIEWER)
    page = text_of(viewer.get(page_of(failed)))
    for text in ("Many turns fail", "HTTP 503", "The receiver is down", "Replaced by", page_of(instead)):
        assert text in page, text
    assert "Send again" not in page
    assert page_of(channel) not in page, "channels are for operators"
    for query, found in [
        ("state=failed", [failed]),
        (f"channel={channel.pk}", [instead, failed]),
        ("kind=repeat", []),
        ("q=high_error_rate", [failed]),
        ("q=b", [instead]),
    ]:
        rows = changelist_of(viewer, f"{list_of(Notification)}?{query}").result_list
        assert list(rows) == found, query


def test_an_operator_sends_a_notification_again_unless_it_waits() -> None:
    channel = NotificationChannel.objects.create(name="ops", kind="email", address="a@example.org")
    sent, waiting = make_notification(channel), make_notification(channel, dedup_key="b", state="waiting")
    operator = client_of("oskar", Role.OPERATOR)
    page = text_of(confirmed(operator, button_of(sent, "resend")))
    assert "firing, sent again" in page
    again = Notification.objects.latest("pk")
    assert (again.dedup_key, again.requested_by, again.state) == ("a", "oskar", "waiting")
    assert operator.get(button_of(waiting, "resend")).status_code == 403
    assert "It waits to be sent again already" in text_of(confirmed(operator, button_of(sent, "resend")))
