"""The notifier's threads: a slow channel holds up no other, a lost database loses nothing, an end is in order."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext

from monitoring.models import DeliveryAttempt, Notification, NotificationChannel
from monitoring.notifications import notifier as module
from monitoring.notifications.notifier import Notifier, wait_until_delivered
from monitoring.notifications.outbox import record_outcome
from tests.support.notifications import Receiver, channel, queue, receiver

pytestmark = pytest.mark.usefixtures("transactional_db")

Kind = NotificationChannel.Kind
State = Notification.State


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@contextmanager
def running(**options: Any) -> Iterator[Notifier]:
    notifier = Notifier(**{"poll_seconds": 0.05, **options})
    notifier.start()
    try:
        yield notifier
    finally:
        notifier.stop()
    assert not notifier.is_alive()


def states() -> list[str]:
    return list(Notification.objects.order_by("created_at").values_list("state", flat=True))


def test_a_slow_channel_holds_up_no_other(there: Receiver) -> None:
    with receiver(there) as slow:
        slow.gate.clear()
        queue(channel(Kind.WEBHOOK, slow))
        queue(channel(Kind.WEBHOOK, there), key="event-2")
        with running():
            assert slow.arrived.acquire(timeout=10)
            for number in range(3, 6):
                assert there.arrived.acquire(timeout=10)
                queue(channel(Kind.WEBHOOK, there), key=f"event-{number}")
            slow.gate.set()
    assert states()[:4] == [State.SENT] * 4


def test_a_look_at_an_empty_outbox_is_one_statement() -> None:
    connection.ensure_connection()
    with CaptureQueriesContext(connection) as queries:
        Notifier().look()
    assert len(queries) == 1


def test_what_is_under_way_at_the_end_is_recorded(there: Receiver) -> None:
    there.gate.clear()
    queue(channel(Kind.WEBHOOK, there))
    with running():
        assert there.arrived.acquire(timeout=10)
        there.gate.set()
    assert states() == [State.SENT]
    assert DeliveryAttempt.objects.get().succeeded


def test_a_receiver_that_does_not_answer_holds_up_no_end(there: Receiver) -> None:
    there.gate.clear()
    queue(channel(Kind.WEBHOOK, there))
    with running(stop_seconds=0.05):
        assert there.arrived.acquire(timeout=10)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "notification")
    there.gate.set()
    assert (states(), DeliveryAttempt.objects.get().finished_at) == ([State.WAITING], None)


def test_one_delivery_after_the_other_needs_no_further_look(there: Receiver) -> None:
    to = channel(Kind.WEBHOOK, there)
    for number in range(5):
        queue(to, key=f"event-{number}", incident=f"incident-{number}")
    with running(poll_seconds=60):
        for _ in range(5):
            assert there.arrived.acquire(timeout=10)
    assert states() == [State.SENT] * 5


def test_an_outcome_waits_for_the_database(there: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = threading.Event()
    calls = []

    def record(*args: Any) -> None:
        calls.append(args)
        if len(calls) == 1:
            raise OperationalError("the database restarts")
        record_outcome(*args)
        recorded.set()

    monkeypatch.setattr(module, "record_outcome", record)
    queue(channel(Kind.WEBHOOK, there))
    with running():
        assert recorded.wait(10)
    assert (states(), len(there.requests)) == ([State.SENT], 1)


def test_several_notifiers_deliver_each_notification_once(there: Receiver) -> None:
    channels = [channel(Kind.WEBHOOK, there) for _ in range(4)]
    for number in range(20):
        queue(channels[number % 4], key=f"event-{number}", incident=f"incident-{number}")
    with running(), running(), running():
        for _ in range(20):
            assert there.arrived.acquire(timeout=10)
    assert states() == [State.SENT] * 20
    ids = [request.headers["webhook-id"] for request in there.requests]
    assert len(ids) == len(set(ids)) == 20


def test_a_command_waits_for_a_delivery_of_another_process(there: Receiver) -> None:
    there.gate.clear()
    row = queue(channel(Kind.WEBHOOK, there))
    with running():
        assert there.arrived.acquire(timeout=10)
        assert not wait_until_delivered([row.pk], seconds=0)
        there.gate.set()
        assert wait_until_delivered([row.pk], seconds=10)
    assert len(there.requests) == 1
