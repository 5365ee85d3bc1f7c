"""Signing in: failures are counted by address and account, named in the log, and tell nothing about who exists."""

import logging
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client, override_settings

from accounts.roles import Role
from ratelimits import limiter
from tests.support.people import PASSWORD, person

pytestmark = pytest.mark.django_db

PAGES = ["/login/", "/admin/login/"]
HOME = {"/login/": "/", "/admin/login/": "/admin/"}


@pytest.fixture(autouse=True)
def owner(db: None) -> Iterator[None]:
    limiter.leased_tokens.clear()
    person("ada", Role.OWNER)
    yield
    limiter.leased_tokens.clear()


def limited(**limits: int) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


def sign_in(page: str, name: str = "ada", password: str = "wrong", *, address: str = "192.0.2.1", **more: Any) -> Any:
    return Client().post(page, {"username": name, "password": password, **more}, REMOTE_ADDR=address)


@pytest.mark.parametrize("page", PAGES)
def test_after_so_many_failures_one_address_has_to_wait(page: str) -> None:
    with limited(failed_logins_per_address=3):
        assert [sign_in(page, f"name-{n}").status_code for n in range(3)] == [200] * 3
        refused = sign_in(page, password=PASSWORD)
        assert refused.status_code == 429
        assert 1 <= int(refused["Retry-After"]) <= 300
        assert "Too many sign-ins failed. Please try again in" in refused.content.decode()
        assert not Session.objects.exists()
        assert sign_in(page, password=PASSWORD, address="192.0.2.2").status_code == 302


@pytest.mark.parametrize("name", ["ada", "nobody"])
def test_after_so_many_failures_one_account_has_to_wait_wherever_one_asks_from(name: str) -> None:
    with limited(failed_logins_per_account=3):
        codes = [sign_in("/login/", name, address=f"192.0.2.{n}").status_code for n in range(1, 6)]
        assert codes == [200, 200, 200, 429, 429]
        # Equal to Django under NFKC, so it is the same account here.
        assert sign_in("/login/", name.replace("a", "ａ"), address="192.0.2.9").status_code == 429  # noqa: RUF001
        assert sign_in("/login/", "somebody else", address="192.0.2.9").status_code == 200


def test_the_default_lets_no_single_address_lock_an_account_of_others() -> None:
    assert settings.BANDSTAND.failed_logins_per_address < settings.BANDSTAND.failed_logins_per_account


@pytest.mark.parametrize("page", PAGES)
def test_signing_in_costs_nothing(page: str) -> None:
    with limited(failed_logins_per_address=2, failed_logins_per_account=2):
        for _ in range(5):
            assert sign_in(page, password=PASSWORD).status_code == 302


@pytest.mark.parametrize("page", PAGES)
def test_a_name_that_exists_and_one_that_does_not_get_the_same_answer(page: str) -> None:
    def said(name: str) -> str:
        text: str = sign_in(page, name).content.decode()
        token = text.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
        # The folder of static files is named by a digest, which may contain a short name.
        return re.sub(r"/static/\w+/", "/static/", text).replace(token, "").replace(name, "")

    assert said("ada") == said("eve")


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("wild", ["\x00", "a" * 10_000, "ada\x00", "\u202eada", "' OR 1=1 --", "\ud800", ""])
def test_a_wild_name_or_password_is_a_failed_login(page: str, wild: str) -> None:
    raw = wild.encode("utf-8", "surrogatepass")
    for name, password in ((raw, b"x"), (b"ada", raw)):
        form = urlencode({"username": name, "password": password})
        answer = Client().post(page, form, content_type="application/x-www-form-urlencoded")
        assert answer.status_code == 200
    assert not Session.objects.exists()


def test_each_failure_is_one_line_that_names_accounts_and_no_guesses(caplog: pytest.LogCaptureFixture) -> None:
    with limited(failed_logins_per_address=3), caplog.at_level(logging.WARNING):
        sign_in("/login/")
        sign_in("/admin/login/")
        sign_in("/login/", "my secret password", "x")
        sign_in("/login/", password=PASSWORD)
    lines: list[Any] = [line.msg for line in caplog.records if isinstance(line.msg, dict)]
    failed = [line for line in lines if line["event"] == "login.failed"]
    assert [(line["actor"], line["client"]) for line in failed] == [
        ("ada", "192.0.2.1"), ("ada", "192.0.2.1"), (None, "192.0.2.1"), ("ada", "192.0.2.1"),
    ]  # fmt: skip
    assert [line["rule"] for line in failed] == ["login:invalid_login"] * 3 + ["rate:logins-address"]
    assert "my secret password" not in caplog.text
    assert PASSWORD not in caplog.text


def test_who_may_not_enter_the_console_is_counted_and_told_nothing_else() -> None:
    person("eve", Role.USER)
    answer = sign_in("/admin/login/", "eve", PASSWORD)
    assert answer.status_code == 200
    assert not Session.objects.exists()


# --- the attack list ---


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "target",
    [
        "https://evil.test/", "//evil.test", "///evil.test", "/\\evil.test", "\\\\evil.test", "http:evil.test",
        "javascript:alert(1)", "data:text/html,x", "https:/\tevil.test", "\thttps://evil.test",
        "//evil.test\\@testserver",         "http://testserver@evil.test/", "%2f%2fevil.test",
    ],
)  # fmt: skip
def test_a_login_leads_to_no_other_site(page: str, target: str) -> None:
    for answer in (sign_in(page, password=PASSWORD, next=target), _by_query(page, target)):
        assert answer.status_code == 302
        place = answer["Location"]
        assert place.startswith("/") or place == "%2f%2fevil.test", place
        assert not place.startswith(("//", "/\\"))


def _by_query(page: str, target: str) -> Any:
    return Client().post(page, {"username": "ada", "password": PASSWORD}, query_params={"next": target})


@pytest.mark.parametrize("page", PAGES)
def test_a_session_from_before_the_login_is_worth_nothing_after_it(page: str) -> None:
    client = Client()
    planted = client.session
    planted["seen"] = True
    planted.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = str(planted.session_key)
    client.post(page, {"username": "ada", "password": PASSWORD})
    assert client.cookies[settings.SESSION_COOKIE_NAME].value != planted.session_key
    attacker = Client()
    attacker.cookies[settings.SESSION_COOKIE_NAME] = str(planted.session_key)
    assert attacker.get("/").status_code == 302


@pytest.mark.parametrize("page", PAGES)
def test_a_login_needs_its_own_form(page: str) -> None:
    client = Client(enforce_csrf_checks=True)
    assert client.post(page, {"username": "ada", "password": PASSWORD}).status_code == 403
    assert not Session.objects.exists()


@pytest.mark.parametrize("page", [*PAGES, "/"])
def test_no_page_may_be_framed_or_guessed_at(page: str) -> None:
    answer = Client().get(page)
    assert answer["X-Frame-Options"] == "DENY"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Referrer-Policy"] == "same-origin"
    if page == "/login/":
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
