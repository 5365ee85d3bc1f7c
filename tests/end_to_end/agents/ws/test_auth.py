"""Who may open a websocket, and for how long."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from channels.routing import URLRouter
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.test import Client, override_settings
from django.urls import path

from accounts.api_keys import revoke_api_key
from accounts.models import ApiKey
from accounts.roles import Role
from agents.http.revocation import RevocationWatch
from agents.relay import close_hub
from agents.sessions import delete_session
from agents.ws.auth import AuthenticationMiddleware
from agents.ws.close_codes import CloseCode
from agents.ws.consumer import SessionSocket
from foundation.clock import now
from foundation.db_threads import in_db_thread
from tests.support.people import key_of
from tests.support.sockets import Headers, Owner, Socket, key_headers, login_headers, login_of

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def owner(transactional_db: None) -> Iterator[Owner]:
    yield Owner()
    close_hub()


async def opens(owner: Owner, headers: Headers) -> int | None:
    """None when the socket opens, else the code it is closed with."""
    async with Socket(owner.session.pk, headers) as ws:
        output = await ws.output()
    return None if output["type"] == "websocket.send" else int(output["code"])


# --- keys ---


async def test_a_key_opens_a_socket_by_either_header(owner: Owner) -> None:
    assert await opens(owner, key_headers(owner.key)) is None
    assert await opens(owner, [(b"x-api-key", owner.key.encode())]) is None
    assert await opens(owner, [(b"authorization", f"bearer  {owner.key}".encode())]) is None
    assert await opens(owner, [*key_headers(owner.key), (b"x-api-key", owner.key.encode())]) is None


async def test_two_keys_that_differ_open_nothing_whatever_their_order(owner: Owner) -> None:
    """As over HTTP: one reader for both."""
    good, bad = owner.key.encode(), b"bs_aaaaaaaaaaaa_" + b"a" * 53
    for headers in (
        [(b"authorization", b"Bearer " + good), (b"x-api-key", bad)],
        [(b"x-api-key", good), (b"authorization", b"Bearer " + bad)],
        [(b"authorization", b"Bearer " + bad), (b"authorization", b"Bearer " + good)],
        [(b"authorization", b"Bearer " + good), (b"authorization", b"Bearer " + bad)],
        [(b"authorization", b"Basic x"), (b"x-api-key", good)],
        [(b"x-api-key", bad), (b"x-api-key", good)],
    ):
        assert await opens(owner, headers) == CloseCode.UNAUTHENTICATED, headers


async def test_without_a_good_key_there_is_no_socket(owner: Owner) -> None:
    for headers in (
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer \xff\x00")],
        [(b"authorization", b"Bearer bs_aaaaaaaaaaaa_" + b"a" * 53)],
        [(b"authorization", b"Basic b3duZXI6b3duZXI=")],
        [(b"x-api-key", b"")],
        [(b"x-api-key", b"' OR 1=1 --")],
    ):
        assert await opens(owner, headers) == CloseCode.UNAUTHENTICATED, headers


async def test_a_key_in_the_address_is_not_looked_at(owner: Owner) -> None:
    ws = Socket(owner.session.pk, [])
    ws.communicator.scope["query_string"] = f"key={owner.key}&authorization=Bearer%20{owner.key}".encode()
    async with ws:
        assert await ws.closed() == CloseCode.UNAUTHENTICATED


async def test_an_expired_or_revoked_key_opens_nothing(owner: Owner) -> None:
    await in_db_thread(ApiKey.objects.update, expires_at=now() - timedelta(seconds=1))
    assert await opens(owner, key_headers(owner.key)) == CloseCode.UNAUTHENTICATED
    await in_db_thread(ApiKey.objects.update, expires_at=None, revoked_at=now())
    assert await opens(owner, key_headers(owner.key)) == CloseCode.UNAUTHENTICATED


# --- logins ---


async def test_a_login_opens_a_socket_from_our_own_page(owner: Owner) -> None:
    assert await opens(owner, login_headers(await in_db_thread(login_of, owner.user))) is None


async def test_another_page_cannot_use_the_login(owner: Owner) -> None:
    login = await in_db_thread(login_of, owner.user)
    for origin in (None, "null", "https://localhost:8000", "http://localhost:8001", "http://localhost"):
        assert await opens(owner, login_headers(login, origin)) == CloseCode.FORBIDDEN, origin


async def test_a_page_on_a_name_that_is_not_ours_cannot_use_the_login(owner: Owner) -> None:
    login = await in_db_thread(login_of, owner.user)
    headers = login_headers(login, "http://evil.test:8000", host="evil.test:8000")
    assert await opens(owner, headers) == CloseCode.FORBIDDEN


async def test_a_trusted_origin_may_differ_from_the_host(owner: Owner) -> None:
    login = await in_db_thread(login_of, owner.user)
    with override_settings(CSRF_TRUSTED_ORIGINS=["https://chat.example.com"]):
        assert await opens(owner, login_headers(login, "https://chat.example.com")) is None


async def test_a_cookie_of_nobody_opens_nothing(owner: Owner) -> None:
    for cookie in ("", "short", "x" * 32, "' OR 1=1 --", "%00" * 10, "x" * 5000, "\x00" * 32):
        assert await opens(owner, login_headers(cookie)) == CloseCode.UNAUTHENTICATED, cookie


async def test_a_login_before_the_last_change_of_password_opens_nothing(owner: Owner) -> None:
    def change() -> str:
        login = login_of(owner.user)
        owner.user.set_password("another long password")
        owner.user.save()
        return login

    assert await opens(owner, login_headers(await in_db_thread(change))) == CloseCode.UNAUTHENTICATED


async def test_an_anonymous_browser_session_opens_nothing(owner: Owner) -> None:
    def anonymous() -> str:
        client = Client()
        session = client.session
        session["seen"] = True
        session.save()
        return str(session.session_key)

    assert await opens(owner, login_headers(await in_db_thread(anonymous))) == CloseCode.UNAUTHENTICATED


# --- what was good and is no more ---


def watched(owner: Owner, headers: Headers) -> Socket:
    """A socket that is looked after more often than others, for the test's sake."""
    app = AuthenticationMiddleware(SessionSocket.as_asgi(watch=RevocationWatch(period_seconds=0.02)))
    return Socket(owner.session.pk, headers, app=URLRouter([path("ws/sessions/<uuid:session_id>/", app)]))  # type: ignore[arg-type]


def log_out(owner: Owner) -> None:
    Session.objects.all().delete()


def let_the_login_expire(owner: Owner) -> None:
    Session.objects.update(expire_date=now() - timedelta(seconds=1))


def change_the_password(owner: Owner) -> None:
    owner.user.set_password("another long password")
    owner.user.save()


def close_the_account(owner: Owner) -> None:
    owner.user.is_active = False
    owner.user.save()


def take_the_role(owner: Owner) -> None:
    owner.user.groups.clear()


def take_the_right_from_the_role(owner: Owner) -> None:
    Group.objects.get(name=Role.USER).permissions.clear()


def revoke_the_key(owner: Owner) -> None:
    revoke_api_key(owner.actor, key_id=ApiKey.objects.get().pk)


def let_the_key_expire(owner: Owner) -> None:
    ApiKey.objects.update(expires_at=now() - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("kind", "lose"),
    [
        ("login", log_out),
        ("login", let_the_login_expire),
        ("login", change_the_password),
        ("login", close_the_account),
        ("login", take_the_role),
        ("login", take_the_right_from_the_role),
        ("key", revoke_the_key),
        ("key", let_the_key_expire),
        ("key", close_the_account),
        ("key", take_the_role),
    ],
)
async def test_an_open_socket_is_closed_when_its_right_is_lost(owner: Owner, kind: str, lose: Any) -> None:
    headers = key_headers(owner.key) if kind == "key" else login_headers(await in_db_thread(login_of, owner.user))
    async with watched(owner, headers) as ws:
        await ws.until("ready")
        await in_db_thread(lose, owner)
        assert await ws.closed() == CloseCode.FORBIDDEN


async def test_a_session_that_is_deleted_elsewhere_closes_its_quiet_sockets(owner: Owner) -> None:
    async with watched(owner, key_headers(owner.key)) as ws:
        await ws.until("ready")
        await in_db_thread(delete_session, owner.actor, session_id=owner.session.pk, expected_version=1)
        assert await ws.closed() == CloseCode.UNKNOWN_SESSION


async def test_other_sockets_stay_open(owner: Owner) -> None:
    other = await in_db_thread(key_of, owner.user)
    async with watched(owner, key_headers(other)) as ws:
        await ws.until("ready")
        async with watched(owner, key_headers(owner.key)) as lost:
            await lost.until("ready")
            prefix = owner.key.split("_")[1]
            await in_db_thread(ApiKey.objects.filter(prefix=prefix).update, revoked_at=now())
            assert await lost.closed() == CloseCode.FORBIDDEN
        await ws.send({"type": "ping"})
        assert (await ws.receive())["type"] == "pong"
