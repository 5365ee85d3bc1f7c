"""From the outbox to the receiver: an attempt before the network, its outcome after, retries, the fallback."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models import F
from pytest_django import DjangoAssertNumQueries

from accounts.actor import Actor
from foundation.clock import now
from monitoring.models import Alert, AlertRule, DeliveryAttempt, Notification, NotificationChannel
from monitoring.notifications.channel_input import ChannelInput
from monitoring.notifications.channels import save_channel
from monitoring.notifications.message import DeliveryOutcome
from monitoring.notifications.notifier import deliver_due
from monitoring.notifications.outbox import (
    INTERRUPTED,
    MAX_BATCH,
    SKIPPED,
    SWITCHED_OFF,
    claim_deliveries,
    has_due_notifications,
    queue_notification,
    record_outcome,
)
from tests.support.notifications import WEBHOOK_SECRET, Receiver, channel, content, queue, receiver

pytestmark = pytest.mark.django_db

Kind = NotificationChannel.Kind
State = Notification.State
Event = Notification.Kind


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def make_due() -> None:
    """As if every pause were over."""
    Notification.objects.update(due_at=now() - timedelta(seconds=1))
    NotificationChannel.objects.update(attempted_at=None, claimed_until=None)


def errors() -> list[str]:
    return list(DeliveryAttempt.objects.order_by("id").values_list("error", flat=True))


def test_a_webhook_is_signed_and_sent_once(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    assert (deliver_due(), deliver_due()) == (1, 0)
    [request] = there.requests
    assert request.path == "/hooks/1"
    assert request.headers["webhook-id"] == "firing-event-1"
    signed = f"firing-event-1.{request.headers['webhook-timestamp']}.".encode() + request.content
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{digest}"
    assert request.json["type"] == "alert.firing"
    assert request.json["data"] == {"kind": "firing", **content().dump()}
    row.refresh_from_db()
    assert (row.state, row.attempts, row.finished_at is not None) == (State.SENT, 1, True)
    [attempt] = row.delivery_attempts.all()
    assert (attempt.succeeded, attempt.status_code, attempt.error) == (True, 200, "")


def test_the_attempt_is_written_before_the_network_is_used(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    [claim] = claim_deliveries(8)
    assert claim_deliveries(8) == []
    [attempt] = row.delivery_attempts.all()
    assert (attempt.finished_at, attempt.succeeded, there.requests) == (None, None, [])
    record_outcome(claim, DeliveryOutcome(succeeded=True))
    attempt.refresh_from_db()
    assert attempt.succeeded


def test_who_dies_in_a_delivery_leaves_it_to_the_next_with_the_same_id(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    claim_deliveries(8)
    NotificationChannel.objects.update(claimed_until=F("claimed_until") - timedelta(minutes=1))
    assert deliver_due() == 1
    assert errors() == [INTERRUPTED, ""]
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.SENT, 2)


def test_what_is_recorded_late_is_sent_all_the_same(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    [late] = claim_deliveries(8)
    NotificationChannel.objects.update(claimed_until=None)
    [claim] = claim_deliveries(8)
    record_outcome(late, DeliveryOutcome(error="It broke."))
    row.refresh_from_db()
    assert (row.state, errors()) == (State.WAITING, [INTERRUPTED, ""])
    record_outcome(late, DeliveryOutcome(succeeded=True))
    record_outcome(claim, DeliveryOutcome(error="It broke."))
    row.refresh_from_db()
    assert row.state == State.SENT


def test_a_failure_is_retried_after_a_growing_pause(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    delays = []
    for _ in range(3):
        there.refuse(503)
        make_due()
        assert deliver_due() == 0
        row.refresh_from_db()
        delays.append(round((row.due_at - now()).total_seconds()))
    assert delays == [10, 30, 120]
    assert errors() == ["The receiver answers 503."] * 3
    make_due()
    assert deliver_due() == 1
    assert len({request.headers["webhook-id"] for request in there.requests}) == 1


def test_a_receiver_that_asks_for_patience_gets_it(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    there.refuse(429, retry_after="77")
    deliver_due()
    row.refresh_from_db()
    assert round((row.due_at - now()).total_seconds()) == 77


def test_the_fallback_takes_over_what_a_channel_cannot_deliver(there: Receiver) -> None:
    other = channel(Kind.SLACK, there)
    first = channel(Kind.WEBHOOK, there, fallback=other)
    row = queue(first)
    for _ in range(4):
        there.refuse(500)
        make_due()
        deliver_due(channel_ids=[first.pk])
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.FAILED, 4)
    assert deliver_due() == 1
    replacement = Notification.objects.get(channel=other)
    assert (replacement.state, replacement.replaces, replacement.dedup_key) == (State.SENT, row, row.dedup_key)


def test_a_permanent_failure_goes_to_the_fallback_at_once_and_to_nobody_twice(there: Receiver) -> None:
    first = channel(Kind.WEBHOOK, there)
    second = channel(Kind.WEBHOOK, there, fallback=first)
    first.fallback = second
    first.save()
    queue(first)
    there.refuse(410)
    there.refuse(410)
    assert deliver_due() == 0
    assert [row.state for row in Notification.objects.all()] == [State.FAILED, State.FAILED]
    assert len(there.requests) == 2


def test_without_a_fallback_it_is_tried_for_two_hours(there: Receiver) -> None:
    row = queue(channel(Kind.WEBHOOK, there))
    for _ in range(8):
        there.refuse(500)
        make_due()
        deliver_due()
    row.refresh_from_db()
    assert (row.state, row.attempts) == (State.FAILED, 8)
    make_due()
    assert deliver_due() == 0


def test_an_end_waits_for_its_beginning_and_others_do_not(there: Receiver) -> None:
    to = channel(Kind.WEBHOOK, there)
    queue(to)
    queue(to, key="event-2", kind=Event.RESOLVED)
    queue(to, key="event-3", incident="incident-2")
    there.refuse(500)
    assert deliver_due() == 0
    NotificationChannel.objects.update(claimed_until=None)
    assert deliver_due() == 1
    make_due()
    assert deliver_due() == 2
    assert [request.headers["webhook-id"] for request in there.requests] == [
        "firing-event-1",
        "firing-event-3",
        "firing-event-1",
        "resolved-event-2",
    ]


def test_what_is_severe_goes_first_and_of_one_incident_nothing_overtakes(there: Receiver) -> None:
    to = channel(Kind.WEBHOOK, there)
    for number in range(3):
        queue(to, key=f"info-{number}", incident=f"info-{number}", severity="info")
    queue(to, key="raised", incident="info-1", severity="critical", kind=Event.REPEAT)
    for number in range(2):
        queue(to, key=f"critical-{number}", incident=f"critical-{number}", severity="critical")
    queue(to, key="warning", incident="warning", severity="warning")
    queue(to, key="test", incident="test", severity="info", kind=Event.TEST)
    assert deliver_due() == 8
    assert [request.headers["webhook-id"].split("-", 1)[1] for request in there.requests] == [
        "test", "critical-0", "critical-1", "warning", "info-0", "info-1", "raised", "info-2"
    ]  # fmt: skip


def test_a_storm_that_people_read_begins_with_what_is_severe(there: Receiver) -> None:
    to = channel(Kind.SLACK, there)
    for number in range(MAX_BATCH):
        queue(to, key=f"info-{number}", incident=f"info-{number}", severity="info")
    queue(to, key="critical", incident="critical", severity="critical", title="The disk is full")
    assert deliver_due() == MAX_BATCH
    assert "The disk is full" in there.requests[0].content.decode()


def test_the_fallback_that_was_told_of_a_beginning_is_told_of_the_end(there: Receiver) -> None:
    other = channel(Kind.PAGERDUTY, there)
    first = channel(Kind.WEBHOOK, there, fallback=other)
    queue(first)
    there.refuse(410)
    assert deliver_due() == 1
    queue(first, key="event-2", kind=Event.RESOLVED)
    assert deliver_due() == 2
    actions = [request.json.get("event_action") for request in there.requests if request.path == "/v2/enqueue"]
    assert actions == ["trigger", "resolve"]


def test_a_channel_that_is_switched_off_sends_nothing_but_tests(there: Receiver) -> None:
    to = channel(Kind.WEBHOOK, there, enabled=False)
    queue(to)
    queue(to, key="event-2", kind=Event.TEST)
    assert deliver_due() == 1
    assert [request.json["type"] for request in there.requests] == ["alert.test"]
    assert sorted(errors()) == ["", "The channel is switched off."]


def test_the_end_of_what_a_channel_was_sent_waits_until_it_is_switched_on(there: Receiver) -> None:
    other = channel(Kind.WEBHOOK, there)
    to = channel(Kind.PAGERDUTY, there, fallback=other)
    queue(to)
    assert deliver_due() == 1
    NotificationChannel.objects.filter(pk=to.pk).update(enabled=False)
    queue(to, key="event-2", kind=Event.RESOLVED)
    queue(to, key="event-3", kind=Event.RESOLVED, incident="incident-3")
    assert deliver_due() == 1  # the fallback's, of the incident whose beginning the channel was not sent
    rows = Notification.objects.filter(channel=to).order_by("created_at")
    assert [row.state for row in rows] == [State.SENT, State.HELD, State.FAILED]
    assert not has_due_notifications()
    values = ChannelInput(kind=Kind.PAGERDUTY, name=to.name, address="", fallback_id=other.pk)
    save_channel(Actor.system("tests"), values=values, channel_id=to.pk)
    assert deliver_due() == 1
    assert [request.json["event_action"] for request in there.requests if "event_action" in request.json] == [
        "trigger",
        "resolve",
    ]


def test_an_end_is_sent_if_its_channel_is_switched_on_meanwhile(there: Receiver) -> None:
    to = channel(Kind.WEBHOOK, there)
    queue(to)
    assert deliver_due() == 1
    NotificationChannel.objects.update(enabled=False)
    row = queue(to, key="event-2", kind=Event.RESOLVED)
    [claim] = claim_deliveries(1)
    NotificationChannel.objects.update(enabled=True)
    record_outcome(claim, DeliveryOutcome(error=SWITCHED_OFF, is_permanent=True))
    row.refresh_from_db()
    assert row.state == State.WAITING
    assert deliver_due() == 1


def test_a_channel_that_fails_rests_and_what_waits_keeps_its_attempts(there: Receiver) -> None:
    to = channel(Kind.WEBHOOK, there)
    for number in range(3):
        queue(to, key=f"event-{number}", incident=f"incident-{number}")
    there.refuse(503, retry_after="30")
    assert deliver_due() == 0
    to.refresh_from_db()
    assert to.claimed_until is not None
    assert round((to.claimed_until - now()).total_seconds()) == 30
    assert list(Notification.objects.order_by("created_at").values_list("attempts", flat=True)) == [1, 0, 0]
    make_due()
    assert deliver_due() == 3


def test_what_waits_for_a_channel_that_has_failed_goes_to_the_fallback_as_one_message(there: Receiver) -> None:
    other = channel(Kind.SLACK, there)
    to = channel(Kind.WEBHOOK, there, fallback=other)
    rule = AlertRule.objects.create(name="slow", metric="m", threshold=1)
    at = now()
    alert = Alert.objects.create(rule=rule, state="firing", pending_at=at, firing_at=at, evaluated_at=at)
    for number in range(10):
        queue(to, key=f"event-{number}", incident=f"incident-{number}").alerts.add(alert)
    queue(other, key="event-3", incident="incident-3")
    there.refuse(410)
    deliver_due(channel_ids=[to.pk])
    assert set(Notification.objects.filter(channel=to).values_list("state", flat=True)) == {State.FAILED}
    assert sorted(errors()) == [SKIPPED] * 9 + ["The receiver answers 410."]
    assert deliver_due() == 10
    assert [request.path for request in there.requests] == ["/hooks/1", "/hooks/1"]
    assert there.requests[1].json["text"] == "10 notifications: 10 firing, 0 resolved"
    assert alert.notifications.filter(channel=other).count() == 9


def test_a_look_at_an_empty_outbox_is_one_statement(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    with django_assert_num_queries(1):
        assert claim_deliveries(8) == []


def test_times_that_cannot_be_hold_nothing_up(there: Receiver) -> None:
    """As after a clock that was put back."""
    to = channel(Kind.SLACK, there)
    queue(to)
    NotificationChannel.objects.update(
        claimed_until=now() + timedelta(hours=2), attempted_at=now() + timedelta(hours=2)
    )
    assert deliver_due() == 1


def test_several_events_of_one_kind_and_key_are_one() -> None:
    to = channel(Kind.WEBHOOK)
    queue(to)
    assert queue_notification(to, kind=Event.FIRING, dedup_key="event-1", content=content()) is None
    queue(to, kind=Event.RESOLVED)
    queue(channel(Kind.WEBHOOK))
    assert Notification.objects.count() == 3


@pytest.mark.parametrize("key", ["", "a b", "a.b", "a\r\nb", "a" * 101, "ü"])
def test_a_key_that_a_header_would_not_take_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="A key of a notification"):
        queue(channel(Kind.WEBHOOK), key=key)
    with pytest.raises(ValueError, match="A key of a notification"):
        queue(channel(Kind.WEBHOOK), incident=key)
