"""Notifications by e-mail, through a real mail server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.test import override_settings
from pydantic import SecretStr

from monitoring.models import DeliveryAttempt, Notification, NotificationChannel
from monitoring.notifications.notifier import deliver_due
from tests.support.mailbox import Mailbox
from tests.support.notifications import channel, queue

pytestmark = pytest.mark.django_db

Kind = NotificationChannel.Kind


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with Mailbox() as box:
        update = {"email_url": SecretStr(f"smtp+plain://127.0.0.1:{box.port}")}
        with override_settings(
            BANDSTAND=settings.BANDSTAND.model_copy(update=update),
            EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=box.port,
            EMAIL_USE_TLS=False,
            DEFAULT_FROM_EMAIL="Bandstand <chat@example.org>",
        ):
            yield box


def attempt() -> tuple[bool | None, int | None, str]:
    row = DeliveryAttempt.objects.latest("id")
    return row.succeeded, row.status_code, row.error


def test_one_mail_goes_to_all_addresses_of_the_channel(box: Mailbox) -> None:
    row = queue(channel(Kind.EMAIL))
    assert deliver_due() == 1
    [mail] = box.messages
    assert (mail["To"], mail["From"]) == ("ops@example.org, ada@example.org", "Bandstand <chat@example.org>")
    assert mail["Subject"] == "Firing (critical): high_error_rate: 7.2 % of turns fail"
    assert mail["Auto-Submitted"] == "auto-generated"
    row.refresh_from_db()
    assert (row.state, attempt()) == (Notification.State.SENT, (True, None, ""))


def test_what_comes_up_in_the_pause_is_one_further_mail(box: Mailbox) -> None:
    to = channel(Kind.EMAIL)
    queue(to)
    assert deliver_due() == 1
    for number in range(40):
        queue(to, key=f"storm-{number}", incident=f"incident-{number}")
    assert deliver_due() == 0
    NotificationChannel.objects.update(attempted_at=None)
    assert deliver_due() == 40
    assert [mail["Subject"] for mail in box.messages][1:] == ["40 notifications: 40 firing, 0 resolved"]
    assert DeliveryAttempt.objects.filter(succeeded=True).count() == 41


def test_a_server_that_says_later_is_asked_later(box: Mailbox) -> None:
    row = queue(channel(Kind.EMAIL))
    box.refuse_content = lambda _message: "451 later"
    assert deliver_due() == 0
    row.refresh_from_db()
    assert (row.state, attempt()[:2]) == (Notification.State.WAITING, (False, 451))


def test_a_server_that_says_never_is_not_asked_again(box: Mailbox) -> None:
    row = queue(channel(Kind.EMAIL))
    box.refuse_recipient = dict.fromkeys(["ops@example.org", "ada@example.org"], "550 nobody of this name")
    assert deliver_due() == 0
    row.refresh_from_db()
    assert row.state == Notification.State.FAILED
    assert attempt()[2].startswith("SMTPRecipientsRefused")


def test_without_a_mail_server_it_fails_at_once() -> None:
    row = queue(channel(Kind.EMAIL))
    assert deliver_due() == 0
    row.refresh_from_db()
    assert (row.state, attempt()[2]) == (Notification.State.FAILED, "E-mail is switched off (EMAIL_URL).")
