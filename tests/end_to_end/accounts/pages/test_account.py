"""One's own account: everybody who signs in changes their password, makes keys and signs out elsewhere."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.test import Client, override_settings

from accounts.actor import Scope
from accounts.api_keys import MAX_KEYS, authenticate_key
from accounts.models import ApiKey, AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.http.credentials import authenticate_by_login, find_lost_rights
from agents.models import Budget
from agents.sessions.turn_schedules import create_schedule, pause_schedule
from foundation.clock import now
from foundation.errors import Unauthenticated
from ratelimits import limiter
from tests.support.budgets import book_spend
from tests.support.consoles import client_of
from tests.support.people import PASSWORD, agent, key_of, person

pytestmark = pytest.mark.django_db

ACCOUNT = "/account/"
NEW = "a long and new one"
BUTTONS = ["password/", "sign-out/", "keys/", "keys/01a2029b-0d95-70ab-8607-464b850af150/revoke/"]


@pytest.fixture(autouse=True)
def no_limits_from_before() -> Iterator[None]:
    limiter.leased_tokens.clear()
    yield
    limiter.leased_tokens.clear()


@pytest.fixture
def ada() -> Client:
    return client_of("ada", Role.USER)


def me() -> User:
    return User.objects.get(username="ada")


def acts() -> list[str]:
    return list(AuditEntry.objects.order_by("id").values_list("action", flat=True))


def press(client: Client, button: str, **fields: Any) -> Any:
    return client.post(f"{ACCOUNT}{button}", fields)


def change(client: Client, old: str = PASSWORD, new: str = NEW, again: str | None = None) -> Any:
    return press(client, "password/", old_password=old, new_password1=new, new_password2=again or new)


def make_key(client: Client, **fields: Any) -> Any:
    given = {"name": "report", "scopes": ["read", "chat"], "days": "30", "key_id": str(uuid4())}
    return press(client, "keys/", **given | fields)


@pytest.mark.parametrize("role", [*Role, None])
def test_everybody_who_signs_in_has_the_page(role: Role | None) -> None:
    client = client_of("ada", *([role] if role else []))
    text = client.get(ACCOUNT).content.decode()
    assert "Your account" in text
    assert ("Back to the console" in text) == (role in {Role.VIEWER, Role.OPERATOR, Role.BUILDER})
    assert ("manage: do what" in text) == (role not in {Role.USER, None})
    assert ("chat: talk" in text) == (role in {Role.USER, Role.OWNER})


@pytest.mark.parametrize("address", ["", *BUTTONS])
def test_strangers_are_sent_to_the_login(address: str) -> None:
    for answer in (Client().get(f"{ACCOUNT}{address}"), Client().post(f"{ACCOUNT}{address}")):
        assert (answer.status_code, answer["Location"].split("?")[0]) == (302, "/login/")


@pytest.mark.parametrize("button", BUTTONS)
def test_a_button_needs_its_own_form_and_a_post(button: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(person("ada", Role.USER))
    assert client.post(f"{ACCOUNT}{button}", {"old_password": PASSWORD}).status_code == 403
    assert client.get(f"{ACCOUNT}{button}")["Location"] == ACCOUNT


def test_the_chat_and_the_console_lead_to_it(ada: Client) -> None:
    assert f'href="{ACCOUNT}"' in ada.get("/").content.decode()
    olga = client_of("olga", Role.OWNER)
    assert f'href="{ACCOUNT}"' in olga.get("/admin/").content.decode()
    assert olga.get("/admin/password_change/")["Location"] == ACCOUNT


def test_the_page_says_how_much_is_left_of_ones_budgets_and_when_they_begin_anew(ada: Client) -> None:
    assert "How much is left" not in ada.get(ACCOUNT).content.decode()
    mine = Budget.objects.create(subject="user", user=me(), unit="usd", period="month", amount=10)
    book_spend(mine, "9.999")
    book_spend(Budget.objects.create(subject="everybody", unit="tokens", period="day", amount=50), 60)
    page = ada.get(ACCOUNT).content.decode()
    assert "$0.00 of $10.00 left" in page
    assert 'aria-valuenow="99" aria-label="Used: 99 %" data-tone="warn"' in page
    assert 'aria-valuenow="100" aria-label="Used: 120 %" data-tone="bad"' in page
    assert "0 % left" in page
    assert re.search(r"Used up\. Begins anew on \d{4}-\d\d-\d\d 00:00 UTC\.", page)


def test_a_new_password_signs_out_every_other_browser_and_leaves_an_entry(ada: Client) -> None:
    other = Client()
    other.force_login(me())
    plain = key_of(me())
    assert change(ada)["Location"] == ACCOUNT
    assert "Your password is changed." in ada.get(ACCOUNT).content.decode()
    assert other.get("/").status_code == 302
    assert Client().login(username="ada", password=NEW)
    authenticate_key(plain)
    assert acts()[-1] == "user.password_changed"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"old": "wrong"}, "That is not your present password."),
        ({"again": "another one"}, "match"),
        ({"new": "short"}, "too short"),
        ({"new": "1234567890"}, "too common"),
        ({"old": ""}, "required"),
    ],
)
def test_a_password_that_will_not_do_changes_nothing(ada: Client, fields: dict[str, str], words: str) -> None:
    answer = change(ada, **fields)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert me().check_password(PASSWORD)
    assert acts() == []
    assert ada.get(ACCOUNT).status_code == 200


@pytest.mark.parametrize("button", ["password/", "sign-out/"])
def test_guesses_at_ones_password_count_as_failed_sign_ins(ada: Client, button: str) -> None:
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"failed_logins_per_account": 2})):
        guess = {"old_password": "wrong", "new_password1": NEW, "new_password2": NEW}
        answers = [press(ada, button, **guess) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[2]["Retry-After"]) >= 1
        assert change(ada).status_code == 429, "not even the right one"
        assert Client().post("/login/", {"username": "ada", "password": PASSWORD}).status_code == 429
    assert me().check_password(PASSWORD)


def test_signing_out_elsewhere_keeps_this_browser_the_password_and_the_keys(ada: Client) -> None:
    other = Client()
    other.force_login(me())
    plain = key_of(me())
    assert press(ada, "sign-out/", old_password=PASSWORD)["Location"] == ACCOUNT
    assert other.get("/").status_code == 302
    assert ada.get("/").status_code == 200
    assert me().check_password(PASSWORD)
    authenticate_key(plain)
    assert acts()[-1] == "user.signed_out"


def test_signing_out_elsewhere_ends_the_open_sockets_of_other_browsers(ada: Client) -> None:
    other = Client()
    other.force_login(me())
    _, theirs = authenticate_by_login(str(other.session.session_key))
    assert not find_lost_rights([theirs], []).credentials
    press(ada, "sign-out/", old_password=PASSWORD)
    _, mine = authenticate_by_login(str(ada.session.session_key))
    assert find_lost_rights([theirs, mine], []).credentials == {theirs}


def test_a_key_is_made_shown_once_and_revoked(ada: Client) -> None:
    key_id = str(uuid4())
    answer = make_key(ada, key_id=key_id)
    plain = re.search(r"bs_[a-z0-9]{12}_[A-Za-z0-9]{53}", answer.content.decode())
    assert plain is not None
    assert "no-store" in answer["Cache-Control"]
    assert authenticate_key(plain[0]).scopes == {Scope.READ, Scope.CHAT}
    again = ada.post(f"{ACCOUNT}keys/", {"name": "x", "scopes": ["read"], "key_id": key_id}, follow=True)
    assert "made already" in again.content.decode()
    for page in (again, ada.get(ACCOUNT)):
        assert plain[0] not in page.content.decode()
        assert plain[0][:15] in page.content.decode()
    assert "goes on" not in ada.get(ACCOUNT).content.decode()
    agent()
    timing: dict[str, Any] = {
        "text": "My secret",
        "agent_slug": "demo",
        "cron": "0 8 * * *",
        "time_zone": "Europe/Zurich",
    }
    rows = [create_schedule(user_actor(me()), **timing) for _ in range(2)]
    pause_schedule(user_actor(me()), schedule_id=rows[0].pk)
    assert "goes on without a key: 1 schedule." in ada.get(ACCOUNT).content.decode()
    assert press(ada, f"keys/{key_id}/revoke/")["Location"] == ACCOUNT
    revoked = "The key report is revoked. What you have planned goes on without a key: 1 schedule."
    assert revoked in ada.get(ACCOUNT).content.decode()
    with pytest.raises(Unauthenticated):
        authenticate_key(plain[0])
    assert [act for act in acts() if act.startswith("api_key.")] == ["api_key.created", "api_key.revoked"]


@pytest.mark.parametrize(
    "fields",
    [{"name": ""}, {"name": "a\u202eb"}, {"name": "a\x00"}, {"scopes": []}, {"scopes": ["manage"]}, {"scopes": ["x"]},
     {"days": "-1"}, {"days": "99999"}, {"key_id": "x"}, {"key_id": ""}],
)  # fmt: skip
def test_a_bad_form_makes_no_key(ada: Client, fields: dict[str, Any]) -> None:
    assert make_key(ada, **fields).status_code in {200, 302}
    assert not ApiKey.objects.exists()


def test_what_is_missing_is_called_as_the_page_calls_it(ada: Client) -> None:
    text = make_key(ada, name="", scopes=[]).content.decode()
    assert "What it is for: This field is required." in text
    assert "What it may do: This field is required." in text


def test_keys_of_others_are_neither_shown_nor_revoked(ada: Client) -> None:
    key_of(person("eve", Role.USER))
    key = ApiKey.objects.get()
    assert key.prefix not in ada.get(ACCOUNT).content.decode()
    for wanted in (key.pk, uuid4()):
        assert "no such key" in ada.post(f"{ACCOUNT}keys/{wanted}/revoke/", follow=True).content.decode()
    key.refresh_from_db()
    assert key.revoked_at is None


def test_nobody_makes_keys_without_end(ada: Client) -> None:
    rows = [
        ApiKey(user=me(), name="x", prefix=f"x{n}", digest=b"", scopes=["read"], revoked_at=now() if n == 0 else None)
        for n in range(MAX_KEYS + 1)
    ]
    ApiKey.objects.bulk_create(rows)
    assert make_key(ada)["Location"] == ACCOUNT
    assert f"{MAX_KEYS} keys that work" in ada.get(ACCOUNT).content.decode()
    assert ApiKey.objects.count() == MAX_KEYS + 1


def test_the_page_is_kept_by_nobody_and_loads_nothing_from_elsewhere(ada: Client) -> None:
    answer = ada.get(ACCOUNT)
    assert "no-store" in answer["Cache-Control"]
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    text = answer.content.decode()
    assert "<style" not in text
    assert " style=" not in text
    assert not re.search(r"<script(?![^>]*src=)", text)


def test_an_account_without_a_password_is_told_whom_to_ask() -> None:
    user = person("ada", Role.USER)
    client = Client()
    client.force_login(user)
    user.set_unusable_password()
    user.save()
    client.force_login(user)
    assert "Ask whoever runs this installation" in client.get(ACCOUNT).content.decode()
    assert change(client).status_code == 200
