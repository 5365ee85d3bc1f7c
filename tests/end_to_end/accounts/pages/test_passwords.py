"""Links by mail, from the login page and from the console: who gets one, and what strangers learn (nothing)."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from pydantic import SecretStr

from accounts.email_outbox import send_emails
from accounts.models import AuditEntry, OutgoingEmail, User
from accounts.roles import Role
from ratelimits import limiter
from tests.support.consoles import button_of, client_of, list_of, page_of
from tests.support.people import PASSWORD, person

pytestmark = pytest.mark.django_db

FORGOTTEN = "/password/forgotten/"
NEW = {"new_password1": "a long and new one", "new_password2": "a long and new one"}


def installation(**told: Any) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=told))


@pytest.fixture
def by_mail() -> Iterator[None]:
    limiter.leased_tokens.clear()
    with installation(email_url=SecretStr("smtp://mail.example.org"), public_url="https://chat.example.org"):
        yield
    limiter.leased_tokens.clear()


@pytest.fixture
def ada() -> User:
    user = person("ada", Role.USER)
    user.email = "ada@example.org"
    user.save()
    return user


def ask(who: str, *, address: str = "192.0.2.1", host: str = "testserver") -> Any:
    return Client().post(FORGOTTEN, {"who": who}, REMOTE_ADDR=address, headers={"host": host})


def link_in(message: Any) -> str:
    found = re.search(r"https://chat\.example\.org(/password/\S+/)", str(message.body))
    assert found is not None, message.body
    return found[1]


def choose(path: str) -> Any:
    guest = Client()
    page = guest.get(path, follow=True)
    return guest.post(page.redirect_chain[-1][0], NEW) if page.redirect_chain else page


@pytest.mark.parametrize("who", ["ada", "ada@example.org", "ADA@Example.org", "ａda", " ada "])  # noqa: RUF001
def test_who_has_forgotten_a_password_gets_a_link_and_comes_in(by_mail: None, ada: User, who: str) -> None:
    assert ask(who)["Location"] == f"{FORGOTTEN}?sent"
    assert send_emails() == 1
    (message,) = mail.outbox
    assert message.to == ["ada@example.org"]
    path = link_in(message)
    assert choose(path)["Location"] == "/login/?chosen"
    assert Client().login(username="ada", password=NEW["new_password1"])
    assert "no longer good" in choose(path).content.decode()
    assert list(AuditEntry.objects.values_list("actor", "action")) == [("ada", "user.password_chosen")]


def test_the_link_names_this_installation_whatever_the_request_says(by_mail: None, ada: User) -> None:
    with override_settings(ALLOWED_HOSTS=["*"]):
        ask("ada", host="evil.test")
    send_emails()
    assert b"evil" not in mail.outbox[0].message().as_bytes()
    assert link_in(mail.outbox[0])


def test_a_new_password_ends_the_logins_and_links_that_there_are(by_mail: None, ada: User) -> None:
    browser = Client()
    browser.force_login(ada)
    ask("ada")
    ask("ada@example.org")
    send_emails()
    first, second = (link_in(message) for message in mail.outbox)
    choose(first)
    assert browser.get("/").status_code == 302
    assert "no longer good" in choose(second).content.decode()


def test_strangers_learn_nothing_about_who_has_an_account(by_mail: None, ada: User) -> None:
    person("eve", Role.USER)  # without an address
    told: list[Any] = []
    for who in ("ada", "nobody", "eve", "nobody@example.org"):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            answer = ask(who, address=f"192.0.2.{len(told)}")
        shapes = [re.sub(r"'[^']*'|\d+|NULL", "?", query["sql"]) for query in queries.captured_queries]
        told.append((answer.status_code, answer["Location"], [shape[:60] for shape in shapes]))
    assert told[1:] == told[:-1]
    assert OutgoingEmail.objects.count() == 4
    assert send_emails() == 1
    assert OutgoingEmail.objects.count() == 1


def test_who_is_locked_out_may_sign_in_with_the_new_password(by_mail: None, ada: User) -> None:
    def sign_in(password: str) -> int:
        limiter.leased_tokens.clear()  # a process forgets within a second what it knows of an empty bucket
        answer = Client().post("/login/", {"username": "ada", "password": password}, REMOTE_ADDR="192.0.2.7")
        return int(answer.status_code)

    with installation(**_mail(), failed_logins_per_account=1):
        assert [sign_in("wrong"), sign_in(PASSWORD)] == [200, 429]
        ask("ada")
        send_emails()
        choose(link_in(mail.outbox[0]))
        assert sign_in(NEW["new_password1"]) == 302


def test_a_closed_account_gets_no_link(by_mail: None, ada: User) -> None:
    User.objects.update(is_active=False)
    ask("ada")
    assert send_emails() == 0


def test_people_who_share_an_address_get_a_letter_each(by_mail: None, ada: User) -> None:
    other = person("family", Role.USER)
    other.email = "Ada@example.org"
    other.save()
    ask("ada@example.org")
    assert send_emails() == 2
    assert {"Your user name: ada\n", "Your user name: family\n"} == {
        line for message in mail.outbox for line in str(message.body).splitlines(keepends=True) if "user name" in line
    }


@pytest.mark.parametrize("who", ["ada", "nobody"])
def test_after_three_links_for_one_name_one_has_to_wait(by_mail: None, ada: User, who: str) -> None:
    assert [ask(who, address=f"192.0.2.{n}").status_code for n in range(5)] == [302, 302, 302, 429, 429]
    refused = ask(who)
    assert "Too many links were asked for. Please try again in" in refused.content.decode()
    assert 1 <= int(refused["Retry-After"]) <= 1200
    assert OutgoingEmail.objects.count() == 3


def test_after_many_names_one_address_has_to_wait(by_mail: None) -> None:
    with installation(**_mail(), failed_logins_per_address=2):
        assert [ask(f"name-{n}").status_code for n in range(3)] == [302, 302, 429]


def _mail() -> dict[str, Any]:
    return {"email_url": SecretStr("smtp://mail.example.org"), "public_url": "https://chat.example.org"}


@pytest.mark.parametrize(
    "who", ["", " ", "\x00", "a" * 300, "\u202eada", "' OR 1=1 --", "%", "a@b\nBcc: eve@evil.test"]
)
def test_wild_names_are_refused_or_are_nobody(by_mail: None, ada: User, who: str) -> None:
    assert ask(who).status_code in {200, 302}
    assert send_emails() == 0


def test_asking_needs_the_page_s_own_form(by_mail: None, ada: User) -> None:
    assert Client(enforce_csrf_checks=True).post(FORGOTTEN, {"who": "ada"}).status_code == 403
    assert not OutgoingEmail.objects.exists()


def test_without_a_mail_server_the_page_says_whom_to_ask(ada: User) -> None:
    for answer in (Client().get(FORGOTTEN), ask("ada")):
        assert "Ask whoever runs this installation" in answer.content.decode()
    assert not OutgoingEmail.objects.exists()
    for page in ("/login/", "/admin/login/"):
        assert FORGOTTEN in Client().get(page).content.decode()


# --- from the console ---


def test_an_owner_mails_an_invitation_and_never_sees_the_link(by_mail: None, ada: User) -> None:
    owner = client_of("olga", Role.OWNER)
    ada.set_unusable_password()
    ada.save()
    assert "Mail it to ada@example.org" in owner.get(button_of(ada, "password_link")).content.decode()
    answer = owner.post(button_of(ada, "password_link"), {"confirm": "yes", "way": "mail"}, follow=True)
    assert "on its way" in answer.content.decode()
    assert send_emails() == 1
    path = link_in(mail.outbox[0])
    assert "olga has made an account" in str(mail.outbox[0].body)
    email = OutgoingEmail.objects.get()
    for page in (page_of(email), list_of(OutgoingEmail), page_of(ada)):
        text = owner.get(page).content.decode()
        assert path not in text
        assert "sent" in text or page == page_of(ada)
    choose(path)
    assert list(AuditEntry.objects.order_by("id").values_list("action", flat=True)) == [
        "user.password_link_mailed", "user.password_chosen",
    ]  # fmt: skip
    assert AuditEntry.objects.order_by("id")[0].detail == {"address": "ada@example.org"}


def test_an_owner_may_still_hand_the_link_over(by_mail: None, ada: User) -> None:
    owner = client_of("olga", Role.OWNER)
    answer = owner.post(button_of(ada, "password_link"), {"confirm": "yes", "way": "hand"})
    assert answer.context["secret"].startswith("https://chat.example.org/password/")
    assert not OutgoingEmail.objects.exists()
    assert "How it gets there" in owner.post(button_of(ada, "password_link"), {"confirm": "yes"}).content.decode()


def test_a_failed_mail_is_shown_to_owners(by_mail: None, ada: User) -> None:
    owner = client_of("olga", Role.OWNER)
    owner.post(button_of(ada, "password_link"), {"confirm": "yes", "way": "mail"})
    User.objects.filter(pk=ada.pk).update(email="")
    send_emails()
    text = owner.get(list_of(OutgoingEmail)).content.decode()
    assert "failed" in text
    assert "The account has no address." in text


def test_who_is_no_owner_sees_no_mail(by_mail: None, ada: User) -> None:
    ask("ada")
    client = client_of("vera", Role.OPERATOR)
    assert client.get(list_of(OutgoingEmail)).status_code == 403
    assert reverse("admin:accounts_outgoingemail_changelist") not in client.get("/admin/").content.decode()


def test_a_password_of_somebody_who_may_more_is_not_mailed(by_mail: None) -> None:
    root = User.objects.create_superuser("root", email="root@example.org", password=PASSWORD)
    client_of("olga", Role.OWNER).post(button_of(root, "password_link"), {"confirm": "yes", "way": "mail"})
    assert not OutgoingEmail.objects.exists()
