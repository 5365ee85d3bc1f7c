"""Mail to people: a row first, then the mail server, then the row again; no link is kept anywhere."""

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings
from django_q.models import OrmQ
from pydantic import SecretStr

from accounts import email_outbox
from accounts.email_outbox import queue_emails, send_emails
from accounts.models import OutgoingEmail, User
from accounts.password_links import FORGOTTEN, INVITED, AnyLink
from accounts.roles import Role
from foundation.advisory_locks import AdvisoryLock
from foundation.clock import now
from tests.support.advisory_locks import held_elsewhere
from tests.support.mailbox import Mailbox
from tests.support.people import person

pytestmark = pytest.mark.django_db

LINK = re.compile(r"https://chat\.example\.org/password/[^/\s]+/([^/\s]+)/")


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """Mail goes to a real server on this machine."""
    with Mailbox() as box:
        told = {
            "email_url": SecretStr(f"smtp+plain://127.0.0.1:{box.port}"),
            "public_url": "https://chat.example.org",
        }
        with override_settings(
            BANDSTAND=settings.BANDSTAND.model_copy(update=told),
            EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend",
            EMAIL_HOST="127.0.0.1",
            EMAIL_PORT=box.port,
            EMAIL_USE_TLS=False,
            DEFAULT_FROM_EMAIL="Bandstand <chat@example.org>",
        ):
            yield box


@pytest.fixture
def ada() -> User:
    user = person("ada", Role.USER)
    user.email = "ada@example.org"
    user.save()
    return user


def write(user: User | None, kind: OutgoingEmail.Kind = OutgoingEmail.Kind.FORGOTTEN) -> OutgoingEmail:
    (email,) = queue_emails([user], kind=kind, asked_by="olga")
    return email


def as_it_is(email: OutgoingEmail) -> OutgoingEmail:
    return OutgoingEmail.objects.get(pk=email.pk)


def make_due(email: OutgoingEmail) -> None:
    OutgoingEmail.objects.filter(pk=email.pk).update(due_at=now() - timedelta(seconds=1))


def test_a_letter_is_sent_once_with_a_link_that_opens(box: Mailbox, ada: User) -> None:
    email = write(ada)
    assert OrmQ.objects.get().func() == "accounts.tasks.send_emails"
    assert [send_emails(), send_emails()] == [1, 0]
    (message,) = box.messages
    assert (message["To"], message["From"]) == ("ada@example.org", "Bandstand <chat@example.org>")
    link = LINK.search(box.text_to("ada@example.org"))
    assert link is not None
    assert FORGOTTEN.check_token(ada, link[1])
    html = message.get_body(("html",))
    assert html is not None
    assert f'href="{link[0]}"' in html.get_content()
    sent = as_it_is(email)
    assert (sent.state, sent.attempts, sent.address, sent.error) == ("sent", 1, "ada@example.org", "")
    with connection.cursor() as cursor:
        cursor.execute("SELECT l::text FROM accounts_outgoingemail l UNION ALL SELECT q::text FROM django_q_ormq q")
        assert not any(link[1] in row for (row,) in cursor.fetchall())


def test_an_invitation_says_who_invites_and_what_the_name_is(box: Mailbox, ada: User) -> None:
    ada.set_unusable_password()
    ada.first_name = "<Ada>"
    ada.save()
    write(ada, OutgoingEmail.Kind.INVITATION)
    send_emails()
    text = box.text_to("ada@example.org")
    assert "Hello <Ada>," in text
    assert "olga has made an account for you at https://chat.example.org" in text
    assert "Your user name: ada" in text
    html = box.messages[0].get_body(("html",))
    assert html is not None
    assert "&lt;Ada&gt;" in html.get_content()
    token = LINK.search(text)
    assert token is not None
    assert INVITED.check_token(ada, token[1])


def test_the_links_end_after_an_hour_and_after_three_days(ada: User) -> None:
    def made_before(tokens: Any, age: timedelta) -> str:
        moment = tokens._num_seconds(tokens._now() - age)
        return str(tokens._make_token_with_timestamp(ada, moment, tokens.secret))

    any_link = AnyLink()
    for tokens, life in ((FORGOTTEN, timedelta(hours=1)), (INVITED, timedelta(days=3))):
        assert any_link.check_token(ada, made_before(tokens, life - timedelta(seconds=5)))
        assert not any_link.check_token(ada, made_before(tokens, life + timedelta(seconds=5)))
    assert not INVITED.check_token(ada, FORGOTTEN.make_token(ada))
    for wrong in (None, "", "-", "a-b", "x", "é-é", "9" * 500):
        assert not any_link.check_token(ada, wrong)


def test_a_server_that_is_away_is_asked_again_and_in_the_end_the_letter_has_failed(
    box: Mailbox, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    email = write(ada)
    box.greeting = "421 busy"
    waits = []
    for _ in range(len(email_outbox.RETRY_DELAYS)):
        assert send_emails() == 0
        waits.append(as_it_is(email).due_at - now())
        assert send_emails() == 0, "it is not due yet"
        make_due(email)
    assert [round(wait / timedelta(minutes=1)) for wait in waits] == [1, 5, 15]
    assert send_emails() == 0
    failed = as_it_is(email)
    assert (failed.state, failed.attempts) == ("failed", 4)
    assert "421" in failed.error
    assert "mail.failed" in caplog.text


def test_a_letter_arrives_when_the_server_is_back(box: Mailbox, ada: User) -> None:
    email = write(ada)
    box.refuse_recipient["ada@example.org"] = "451 greylisted, try again"
    send_emails()
    box.refuse_recipient.clear()
    make_due(email)
    assert send_emails() == 1
    assert (as_it_is(email).state, as_it_is(email).error) == ("sent", "")


def test_an_address_that_is_refused_is_not_asked_again(box: Mailbox, ada: User) -> None:
    email = write(ada)
    box.refuse_recipient["ada@example.org"] = "550 no such user"
    send_emails()
    failed = as_it_is(email)
    assert (failed.state, failed.attempts) == ("failed", 1)
    assert "no such user" in failed.error


def test_what_a_server_repeats_of_a_link_is_neither_kept_nor_logged(
    box: Mailbox, ada: User, caplog: pytest.LogCaptureFixture
) -> None:
    tokens: list[str] = []

    def repeat(message: Any) -> str:
        link = LINK.search(message.get_body(("plain",)).get_content())
        assert link is not None
        tokens.append(link[1])
        return f"554 bad link {link[0]}"

    box.refuse_content = repeat
    email = write(ada)
    with caplog.at_level(logging.DEBUG):
        send_emails()
    assert "554" in as_it_is(email).error
    assert tokens[0] not in as_it_is(email).error
    assert tokens[0] not in caplog.text


def test_a_password_is_not_told_to_a_server_without_encryption(box: Mailbox, ada: User) -> None:
    email = write(ada)
    with override_settings(EMAIL_USE_TLS=True, EMAIL_HOST_USER="me", EMAIL_HOST_PASSWORD="canary-password"):
        send_emails()
    assert (box.logins, box.messages) == ([], [])
    assert "STARTTLS" in as_it_is(email).error


def test_who_takes_a_letter_and_dies_costs_a_second_copy_at_most(box: Mailbox, ada: User) -> None:
    email = write(ada)
    assert email_outbox._claim_next() == email
    assert email_outbox._claim_next() is None, "it is somebody's"
    make_due(email)
    assert send_emails() == 1
    assert as_it_is(email).attempts == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"is_active": False}, "The account was closed meanwhile."),
        ({"email": ""}, "The account has no address."),
    ],
)
def test_a_letter_to_who_should_have_none_fails(box: Mailbox, ada: User, change: dict[str, Any], why: str) -> None:
    email = write(ada)
    User.objects.filter(pk=ada.pk).update(**change)
    send_emails()
    assert (as_it_is(email).state, as_it_is(email).error) == ("failed", why)
    assert box.messages == []


def test_a_letter_that_comes_too_late_is_not_sent(box: Mailbox, ada: User) -> None:
    email = write(ada)
    OutgoingEmail.objects.update(created_at=now() - timedelta(hours=2))
    send_emails()
    assert as_it_is(email).error == "It could not be sent in time."
    assert box.messages == []


def test_without_a_mail_server_nothing_waits_for_ever(ada: User) -> None:
    email = write(ada)
    send_emails()
    assert (as_it_is(email).state, as_it_is(email).error) == ("failed", "Mail is switched off (EMAIL_URL).")


def test_a_letter_for_nobody_is_deleted(box: Mailbox) -> None:
    email = write(None)
    assert send_emails() == 0
    assert not OutgoingEmail.objects.filter(pk=email.pk).exists()
    assert box.said == []


def test_a_server_that_does_not_answer_keeps_one_worker_waiting_and_no_more(box: Mailbox, ada: User) -> None:
    email = write(ada)
    with held_elsewhere(AdvisoryLock.SEND_EMAIL):
        assert send_emails() == 0
    assert (as_it_is(email).state, as_it_is(email).attempts) == ("waiting", 0)
    assert send_emails() == 1


def test_letters_are_forgotten_after_a_month(box: Mailbox, ada: User) -> None:
    old, young = write(ada), write(ada)
    send_emails()
    OutgoingEmail.objects.filter(pk=old.pk).update(created_at=now() - timedelta(days=31))
    assert email_outbox.purge_emails() == 1
    assert as_it_is(young).state == "sent"
