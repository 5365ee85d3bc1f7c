"""Who failed to sign in too often is seen by an owner, and let in again by a button or a command."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from django.urls import reverse

from accounts.models import AuditEntry, User
from accounts.roles import Role
from ratelimits import limiter
from tests.support.consoles import button_of, client_of, confirmed, page_of
from tests.support.people import PASSWORD, person

pytestmark = pytest.mark.django_db

ADDRESS = "192.0.2.1"


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    told = {"failed_logins_per_address": 4, "failed_logins_per_account": 2}
    limiter.leased_tokens.clear()
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=told)):
        yield
    limiter.leased_tokens.clear()


@pytest.fixture
def owner() -> Client:
    return client_of("olga", Role.OWNER)


@pytest.fixture
def ada() -> User:
    return person("Ada", Role.USER)


def sign_in(name: str = "Ada", password: str = "wrong", address: str = ADDRESS) -> int:
    # What a process remembers of an empty bucket it forgets within a second.
    limiter.leased_tokens.clear()
    answer = Client().post("/login/", {"username": name, "password": password}, REMOTE_ADDR=address)
    return int(answer.status_code)


def fail(times: int, name: str = "Ada") -> None:
    for _ in range(times):
        sign_in(name)


def list_page(owner: Client) -> str:
    return str(owner.get(reverse("admin:accounts_user_lockouts")).content.decode())


def acts() -> list[tuple[str, str]]:
    return list(AuditEntry.objects.order_by("id").values_list("actor", "action"))


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("unlock_account", *arguments, stdout=out)
    return out.getvalue().strip()


def test_an_owner_sees_who_is_locked_out_and_unlocks_them(owner: Client, ada: User) -> None:
    assert "Open." in owner.get(page_of(ada)).content.decode()
    fail(2)
    assert sign_in(password=PASSWORD) == 429
    assert "Locked out for" in owner.get(page_of(ada)).content.decode()
    assert "Ada" in list_page(owner)
    assert "may try again" in confirmed(owner, button_of(ada, "unlock")).content.decode()
    assert sign_in(password=PASSWORD) == 302
    assert "No account has to wait." in list_page(owner)
    assert acts() == [("olga", "user.unlocked")]


def test_who_has_hardly_any_tries_left_is_shown_too(owner: Client, ada: User) -> None:
    told = {"failed_logins_per_address": 100, "failed_logins_per_account": 20}
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=told)):
        fail(18)
        assert "Open." in owner.get(page_of(ada)).content.decode()
        assert "No account has to wait." in list_page(owner)
        fail(1)
        assert "1 tries left after many failed attempts" in owner.get(page_of(ada)).content.decode()
        assert "1 try left" in list_page(owner)
        confirmed(owner, button_of(ada, "unlock"))
        assert "Open." in owner.get(page_of(ada)).content.decode()


def test_an_address_is_unlocked_from_the_list(owner: Client, ada: User) -> None:
    for name in ("a", "b", "c", "d"):
        fail(1, name)
    assert sign_in(password=PASSWORD) == 429
    assert ADDRESS in list_page(owner)
    answer = owner.post(reverse("admin:accounts_user_lockouts"), {"address": ADDRESS}, follow=True)
    assert f"{ADDRESS} may try again" in answer.content.decode()
    assert sign_in(password=PASSWORD) == 302
    assert acts() == [("olga", "address.unlocked")]
    assert owner.get(reverse("admin:accounts_auditentry_changelist")).status_code == 200


def test_a_network_is_unlocked_by_the_name_it_has_in_the_list(owner: Client, ada: User) -> None:
    for name in ("a", "b", "c", "d"):
        sign_in(name, address="2001:db8::1")
    assert sign_in(password=PASSWORD, address="2001:db8::2") == 429
    assert "2001:db8::/64" in list_page(owner)
    owner.post(reverse("admin:accounts_user_lockouts"), {"address": "2001:db8::/64"})
    assert sign_in(password=PASSWORD, address="2001:db8::2") == 302


def test_names_that_nobody_has_are_counted_and_not_shown(owner: Client, ada: User) -> None:
    fail(2, "my secret password")
    text = list_page(owner)
    assert "1 name that nobody has here" in text
    assert "secret" not in text


def test_who_did_not_have_to_wait_leaves_no_entry(owner: Client, ada: User) -> None:
    fail(1)
    assert "did not have to wait" in confirmed(owner, button_of(ada, "unlock")).content.decode()
    assert "did not have to wait" in owner.post(
        reverse("admin:accounts_user_lockouts"), {"address": "198.51.100.7"}, follow=True
    ).content.decode()  # fmt: skip
    assert acts() == []


def test_who_may_more_is_not_unlocked_by_who_may_less(owner: Client) -> None:
    root = User.objects.create_superuser("root", password=PASSWORD)
    fail(2, "root")
    assert "may do more than you" in confirmed(owner, button_of(root, "unlock")).content.decode()
    assert sign_in("root", PASSWORD) == 429


def test_the_command_does_the_same(ada: User) -> None:
    fail(2)
    assert run("Ada") == "The account Ada may try again."
    assert sign_in(password=PASSWORD) == 302
    assert run("Ada") == "The account Ada did not have to wait."
    assert acts() == [("system:unlock_account", "user.unlocked")]
    fail(4, "x")
    assert run("--address", ADDRESS) == f"The address {ADDRESS} may try again."


@pytest.mark.parametrize("wrong", [(), ("nobody",), ("\x00",)])
def test_the_command_says_what_is_wrong(wrong: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*wrong)


@pytest.mark.parametrize("address", ["x", "\x00", "'", "a" * 1000, "::/0", "٣"])
def test_no_wild_address_breaks_the_page(owner: Client, address: str) -> None:
    answer: Any = owner.post(reverse("admin:accounts_user_lockouts"), {"address": address}, follow=True)
    assert answer.status_code == 200
    assert acts() == []


def test_without_limits_nobody_is_locked_out(owner: Client, ada: User) -> None:
    told = {"failed_logins_per_address": 0, "failed_logins_per_account": 0}
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=told)):
        fail(3)
        assert "No account has to wait." in list_page(owner)
        assert "Open." in owner.get(page_of(ada)).content.decode()
