"""One person's requests and searches leave room for others'."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.test import Client, override_settings

from accounts.requesters import find_requester, user_requester
from agents.sessions import search
from bandstand.web.fair_requests import FairRequestsMiddleware
from bandstand.web.paced_refusals import PacedRefusals
from foundation.db_threads import in_db_thread
from ratelimits import limiter
from ratelimits.models import Bucket
from rest import request_turns
from rest.request_turns import enter_console, enter_request, enter_search
from tests.support.people import key_of
from tests.support.rest import Rest, problem
from tests.support.sockets import Owner, login_of
from tests.support.surroundings import database_url

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def owner(transactional_db: None) -> Iterator[Owner]:
    limiter.leased_tokens.clear()
    owner = Owner()
    Rest(owner.key).get("agents")  # from now on it is known whose the key is
    Bucket.objects.all().delete()
    limiter.leased_tokens.clear()
    yield owner
    limiter.leased_tokens.clear()


def limited(**limits: int) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


@contextmanager
def searches_wait() -> Iterator[None]:
    """A lock that every search waits for."""
    with psycopg.connect(database_url(settings.DATABASES["default"]["NAME"])) as other:
        other.execute("LOCK TABLE agents_message IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def test_whose_a_credential_is_is_known_from_the_last_time_it_was_good(owner: Owner) -> None:
    assert find_requester(owner.key, "192.0.2.1") == user_requester(owner.user.pk)
    assert find_requester("bs_made_up", "192.0.2.1") == find_requester("bs_another", "192.0.2.1") == "a:192.0.2.1"


async def answer_to(
    path: str,
    key: str = "",
    *,
    login: str = "",
    kind: str = "http",
    client: str = "192.0.2.1",
    app: Any = None,
    refusals: PacedRefusals | None = None,
) -> list[dict[str, Any]]:
    """What the middleware sends itself; a request that it passes on is answered with 204."""
    sent: list[dict[str, Any]] = []

    async def passed_on(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect" if sent else "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost")]
    if key:
        headers.append((b"authorization", f"Bearer {key}".encode()))
    if login:
        headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={login}".encode()))
    scope = {"type": kind, "path": path, "method": "GET", "headers": headers, "client": [client, 1]}
    await FairRequestsMiddleware(app or passed_on, refusals)(scope, receive, send)
    return sent


async def test_requests_in_progress_are_limited_in_the_shape_of_each_interface(owner: Owner) -> None:
    with limited(requests_at_once_per_user=1):
        turn = enter_request(user_requester(owner.user.pk))
        for path, shape in (
            ("/api/v1/agents", b'"code":"rate_limited"'),
            ("/v1/models", b'"type":"rate_limit_error"'),
            ("/", b"<h1>"),
        ):
            start, body = await answer_to(path, owner.key)
            assert start["status"] == 429
            assert (b"retry-after", b"1") in start["headers"]
            assert shape in body["body"]
        accepted, error, closed = await answer_to("/ws/sessions/x/", owner.key, kind="websocket")
        assert accepted["type"] == "websocket.accept"
        assert '"code":"rate_limited"' in error["text"]
        assert closed["code"] == 4429
        assert (await answer_to("/health", owner.key))[0]["status"] == 204
        assert (await answer_to("/api/v1/agents", "bs_of_another"))[0]["status"] == 204
        turn.leave()
        assert [(await answer_to("/api/v1/agents", owner.key))[0]["status"] for _ in range(2)] == [204, 204]


async def test_a_flood_of_invented_keys_locks_out_no_good_key_or_login_of_its_address(owner: Owner) -> None:
    fresh, login = await in_db_thread(lambda: (key_of(owner.user), login_of(owner.user)))
    crowd = find_requester("bs_made_up", "192.0.2.1")
    with limited(requests_at_once_per_user=1, bad_keys_per_minute=1):
        flood = [enter_request(crowd) for _ in range(request_turns.ADDRESS_FACTOR)]
        for turn in flood[: request_turns.REQUESTS_AT_WORK // 2]:
            await turn.wait()  # and the others after them
        assert (await answer_to("/api/v1/agents", "bs_made_up"))[0]["status"] == 429
        assert (await answer_to("/api/v1/agents", fresh))[0]["status"] == 204
        assert (await answer_to("/chat/", login=login))[0]["status"] == 204
        for turn in flood:
            turn.leave()


async def test_an_address_that_has_used_up_its_bad_keys_is_refused_from_memory(owner: Owner) -> None:
    with limited(bad_keys_per_minute=1):
        answers = [await in_db_thread(lambda: Rest("bs_made_up").get("agents").status_code) for _ in range(2)]
        assert answers == [401, 429]
        start, _ = await answer_to("/api/v1/agents", "bs_another", client="127.0.0.1")
        assert start["status"] == 429
        assert (await answer_to("/ws/sessions/x/", "bs_another", kind="websocket", client="127.0.0.1"))[-1][
            "code"
        ] == 4429
        assert (await answer_to("/api/v1/agents", client="127.0.0.1"))[0]["status"] == 204, (
            "nobody guesses without a key"
        )
        assert (await answer_to("/api/v1/agents", owner.key, client="127.0.0.1"))[0]["status"] == 204


async def test_refusals_of_the_application_are_paced_and_not_in_progress_meanwhile(owner: Owner) -> None:
    requester, refusals = user_requester(owner.user.pk), PacedRefusals()
    await refusals.wait(requester)
    waits = asyncio.Event()

    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        waits.set()
        await send({"type": "http.response.start", "status": 429, "headers": []})

    with limited(requests_at_once_per_user=1):
        answer = asyncio.create_task(answer_to("/api/v1/agents", owner.key, app=refuse, refusals=refusals))
        await waits.wait()
        enter_request(requester).leave()
        assert not answer.done()
        assert (await answer)[0]["status"] == 429


async def test_a_refusal_of_the_application_waits_without_the_request_and_its_body(owner: Owner) -> None:
    requester, refusals = user_requester(owner.user.pk), PacedRefusals(per_second=2)
    await refusals.wait(requester)
    has_ended = asyncio.Event()

    async def refuse(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 429, "headers": []})
        await send({"type": "http.response.body", "body": b"no"})
        has_ended.set()  # from here on nobody keeps what was read

    answer = asyncio.create_task(answer_to("/api/v1/agents", owner.key, app=refuse, refusals=refusals))
    async with asyncio.timeout(0.3):
        await has_ended.wait()
    assert not answer.done()
    assert [message["type"] for message in await answer] == ["http.response.start", "http.response.body"]


def test_searches_at_once_are_fewer_than_other_requests(owner: Owner) -> None:
    rest, requester = Rest(owner.key), user_requester(owner.user.pk)
    searches = [enter_search(requester) for _ in range(settings.BANDSTAND.searches_at_once_per_user)]
    refused = rest.get("sessions?search=hello")
    problem(refused, 429, "rate_limited")
    assert refused["Retry-After"] == "1"
    assert rest.get("sessions").status_code == 200
    for search_turn in searches:
        search_turn.leave()
    assert rest.get("sessions?search=hello").status_code == 200


def test_a_person_has_one_page_of_the_console_at_work(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_turns, "WAIT_SECONDS", 0.01)
    browser = Client()
    browser.force_login(owner.user)
    assert browser.get("/admin/login/").status_code < 500
    page = enter_console(user_requester(owner.user.pk))
    async_to_sync(page.wait)()
    assert browser.get("/admin/login/").status_code == 503
    assert browser.get("/help/").status_code == 200, "only the console"
    page.leave()
    assert browser.get("/admin/login/").status_code < 500


def test_a_search_that_takes_too_long_is_ended(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.05)
    rest = Rest(owner.key)
    with searches_wait():
        refused = rest.get("sessions?search=hello")
    problem(refused, 503, "search_too_slow")
    assert refused["Retry-After"] == "1"
    assert rest.get("sessions?search=hello").status_code == 200


async def test_a_known_flood_is_refused_from_memory(owner: Owner) -> None:
    with limited(requests_per_minute=2):
        answers = [await in_db_thread(lambda: Rest(owner.key).get("agents").status_code) for _ in range(3)]
        assert answers == [200, 200, 429]
        start, _ = await answer_to("/api/v1/agents", owner.key)
        assert start["status"] == 429
        assert dict(start["headers"])[b"ratelimit"].startswith(b'"requests";r=0')
        assert (await answer_to("/", owner.key))[0]["status"] == 204, "pages are not counted"
