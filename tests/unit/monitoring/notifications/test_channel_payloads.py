"""What each kind of channel is sent, and what its responses mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from foundation.clock import now
from foundation.http import GuardedClient
from monitoring.models import Notification, NotificationChannel
from monitoring.notifications.message import DeliveryOutcome, NotificationMessage, Recipient
from monitoring.notifications.notification_content import AlertContent, ContentState, NotificationContent
from monitoring.notifications.notification_text import headline, subject
from monitoring.notifications.retries import MAX_DELAY, RETRY_DELAYS, retry_delay
from monitoring.notifications.senders import webhook
from monitoring.notifications.senders.email_message import make_email
from monitoring.notifications.senders.http_request import HttpRequest, parse_retry_after, send_request
from monitoring.notifications.senders.pagerduty import make_event
from monitoring.notifications.senders.slack import make_payload
from tests.support.notifications import ROUTING_KEY, WEBHOOK_SECRET, Receiver, content, receiver

Kind = Notification.Kind
AT = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def message(
    number: int = 1, kind: Notification.Kind = Kind.FIRING, of: NotificationContent | None = None, **values: Any
) -> NotificationMessage:
    return NotificationMessage(kind, f"event-{number}", AT, of or content(**values))


FULL = content(
    condition="more than 5 % of turns fail, over 5 minutes",
    value=7.2,
    value_text="7.2 %",
    threshold=5.0,
    threshold_text="5 %",
    since=AT - timedelta(minutes=5),
    alerts=(AlertContent(id="a1", labels={"agent": "demo"}, value=7.2, value_text="7.2 %", firing_at=AT),),
    alerts_count=2,
)


def test_content_survives_its_json() -> None:
    stored = json.loads(json.dumps(FULL.dump()))
    assert NotificationContent.parse(stored) == FULL
    assert NotificationContent.parse(stored | {"of_a_later_version": 1}) == FULL
    assert NotificationContent.parse({"title": "t", "incident_key": "i"}).state is ContentState.FIRING


def test_the_signature_is_that_of_the_specification() -> None:
    signature = webhook.sign(
        WEBHOOK_SECRET,
        message_id="msg_p5jXN8AQM9LWM0D4loKWxJek",
        timestamp=1614265330,
        content=b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_ü"])
def test_a_secret_that_receivers_would_not_take_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="whsec_"):
        webhook.read_secret(text)


def test_a_secret_that_was_made_is_taken() -> None:
    assert len(webhook.read_secret(webhook.make_secret())) == 32


def test_slack_gets_one_text_and_a_coloured_attachment() -> None:
    payload = make_payload([message(of=FULL)])
    assert payload["text"] == "Firing (critical): high_error_rate: 7.2 % of turns fail"
    [attachment] = payload["attachments"]
    assert attachment["color"] == "#c62828"
    assert attachment["text"].splitlines() == [
        "Condition: more than 5 % of turns fail, over 5 minutes",
        "Value: 7.2 % (threshold 5 %)",
        "Since: 2026-11-30 11:55:00 UTC",
        "Alerts: 2",
        "- agent demo: 7.2 % (firing)",
        "- and 1 more",
        "<https://chat.example.org/admin/monitoring/alert/1/change/|Open in the console>"
        " · <https://chat.example.org/admin/runbooks/#high_error_rate|What to do>",
    ]


def test_slack_s_markup_has_no_meaning_in_what_others_wrote() -> None:
    payload = make_payload([message(title="<!channel> & <https://evil.example|here>")])
    assert payload["text"].endswith("&lt;!channel&gt; &amp; &lt;https://evil.example|here&gt;")


def test_a_storm_is_one_message_to_people() -> None:
    many = [message(number, title=f"rule {number}") for number in range(50)]
    payload = make_payload(many)
    assert payload["text"] == "50 notifications: 50 firing, 0 resolved"
    lines = payload["attachments"][0]["text"].splitlines()
    assert (len(lines), lines[-1]) == (31, "and 20 more")
    mail = make_email(Recipient(NotificationChannel.Kind.EMAIL, "ops", "a@example.org"), many)
    assert mail.subject == payload["text"]
    assert str(mail.body).count("Firing (critical): rule") == 30


def test_pagerduty_gets_one_key_for_an_incident_and_its_end() -> None:
    begin = make_event(message(of=FULL), routing_key=ROUTING_KEY, source="https://chat.example.org")
    again = make_event(message(2, Kind.REPEAT, of=FULL), routing_key=ROUTING_KEY, source="https://chat.example.org")
    end = make_event(
        message(3, Kind.RESOLVED, of=replace(FULL, state=ContentState.RESOLVED)),
        routing_key=ROUTING_KEY,
        source="https://chat.example.org",
    )
    assert [event["event_action"] for event in (begin, again, end)] == ["trigger", "trigger", "resolve"]
    assert {event["dedup_key"] for event in (begin, again, end)} == {"incident-1"}
    assert begin["routing_key"] == ROUTING_KEY
    assert begin["payload"]["severity"] == "critical"
    assert begin["payload"]["summary"] == "Firing (critical): high_error_rate: 7.2 % of turns fail"
    assert begin["payload"]["timestamp"] == "2026-11-30T11:55:00+00:00"
    assert [link["text"] for link in begin["links"]] == ["Open in the console", "What to do"]
    assert end == {"routing_key": ROUTING_KEY, "event_action": "resolve", "dedup_key": "incident-1"}


def test_an_e_mail_is_plain_and_its_subject_one_line() -> None:
    mail = make_email(
        Recipient(NotificationChannel.Kind.EMAIL, "ops", "a@example.org\nb@example.org"),
        [message(title="evil\r\nBcc: everybody@example.org")],
    )
    assert mail.to == ["a@example.org", "b@example.org"]
    assert mail.subject == "Firing (critical): evil Bcc: everybody@example.org"
    assert mail.extra_headers["References"] == "<incident-1@bandstand.invalid>"
    assert "What to do: https://chat.example.org/admin/runbooks/#high_error_rate" in str(mail.body)


@pytest.mark.parametrize(
    ("kind", "state", "text"),
    [
        (Kind.FIRING, ContentState.FIRING, "Firing (critical): t"),
        (Kind.REPEAT, ContentState.FIRING, "Still firing (critical): t"),
        (Kind.RESOLVED, ContentState.RESOLVED, "Resolved: t"),
        (Kind.EVALUATION_FAILED, ContentState.FIRING, "Cannot be evaluated (critical): t"),
        (Kind.EVALUATION_FAILED, ContentState.RESOLVED, "Evaluated again: t"),
        (Kind.TEST, ContentState.FIRING, "Test (critical): t"),
    ],
)
def test_a_headline_says_what_happened(kind: Notification.Kind, state: ContentState, text: str) -> None:
    one = message(kind=kind, title="t", state=state)
    assert headline(one) == subject([one]) == text


@pytest.fixture(scope="module")
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
async def client(there: Receiver) -> AsyncIterator[GuardedClient]:
    async with GuardedClient(allow_origins=frozenset({there.origin})) as client:
        yield client


@pytest.mark.parametrize(
    ("status", "is_permanent", "is_permanent_for_webhooks"),
    [
        (301, True, True),
        (400, True, False),
        (401, True, False),
        (403, True, False),
        (404, True, False),
        (408, False, False),
        (410, True, True),
        (429, False, False),
        (500, False, False),
        (503, False, False),
    ],
)
async def test_what_a_status_means(
    there: Receiver, client: GuardedClient, status: int, is_permanent: bool, is_permanent_for_webhooks: bool
) -> None:
    for keeps_trying, expected in ((False, is_permanent), (True, is_permanent_for_webhooks)):
        there.refuse(status, Location=f"http://{there.origin}/elsewhere")
        request = HttpRequest(there.url, b"{}", keeps_trying=keeps_trying)
        outcome = await send_request(client, request, secret="")
        assert (outcome.succeeded, outcome.status_code, outcome.is_permanent) == (False, status, expected)
    assert all(request.path == "/hooks/1" for request in there.requests)


async def test_what_a_receiver_says_is_one_short_line_without_the_secret(
    there: Receiver, client: GuardedClient
) -> None:
    there.refuse(403, f"no\x1b[31m {ROUTING_KEY}\n{there.url} ".encode() + b"x" * 500)
    outcome = await send_request(client, HttpRequest(there.url, b"{}"), secret=ROUTING_KEY)
    assert outcome.error.startswith("The receiver answers 403: no [31m [scrubbed] [scrubbed] xxx")
    assert len(outcome.error) == 200
    there.refuse(403, b"what nobody here should read")
    outcome = await send_request(client, HttpRequest(there.url, b"{}", explains=False), secret="")
    assert outcome.error == "The receiver answers 403."


async def test_a_private_host_that_the_environment_does_not_list_is_never_asked(there: Receiver) -> None:
    before = len(there.requests)
    async with GuardedClient() as stranger:
        outcome = await send_request(stranger, HttpRequest(there.url, b"{}"), secret="")
    assert (outcome.is_permanent, len(there.requests)) == (True, before)
    assert "BANDSTAND_ALERT_HOSTS" in outcome.error
    assert there.origin not in outcome.error


async def test_who_does_not_answer_may_answer_later() -> None:
    async with GuardedClient(allow_origins=frozenset({"127.0.0.1:1"})) as client:
        outcome = await send_request(client, HttpRequest("http://127.0.0.1:1/", b"{}"), secret="")
    assert (outcome.succeeded, outcome.is_permanent) == (False, False)


@pytest.mark.parametrize(
    ("value", "seconds"), [("7", 7.0), (" 7 ", 7.0), ("", None), ("soon", None), ("-1", None), ("9" * 40, 999999999.0)]
)
def test_a_retry_after_is_read(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_a_retry_after_may_be_a_date() -> None:
    seconds = parse_retry_after(format_datetime(now() + timedelta(seconds=60), usegmt=True))
    assert seconds is not None
    assert 50 < seconds <= 60
    assert parse_retry_after(format_datetime(now() - timedelta(hours=1), usegmt=True)) == 0


def test_pauses_grow_and_the_fallback_comes_early() -> None:
    failed = DeliveryOutcome(error="no")
    assert [retry_delay(failed, attempts=n, has_fallback=False) for n in range(1, 9)] == [*RETRY_DELAYS, None]
    assert [retry_delay(failed, attempts=n, has_fallback=True) for n in range(1, 5)] == [*RETRY_DELAYS[:3], None]
    assert retry_delay(replace(failed, is_permanent=True), attempts=1, has_fallback=False) is None
    patient = replace(failed, retry_seconds=1e9)
    assert retry_delay(patient, attempts=1, has_fallback=False) == MAX_DELAY
    assert retry_delay(replace(failed, retry_seconds=0), attempts=1, has_fallback=False) == RETRY_DELAYS[0]
