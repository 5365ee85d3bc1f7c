"""Limits as clients meet them: over REST, over a websocket, and in what they may ask about themselves."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, connections
from django.http import HttpRequest
from django.test import AsyncClient, Client, override_settings

from accounts.api_keys import authenticate_key
from accounts.models import ApiKey
from agents.budgets.exhausted_budgets import exhausted_budgets
from agents.budgets.reservations import BUDGETS_CHANNEL
from agents.http.connection_slots import ConnectionSlots, Holder, get_slots
from agents.http.long_responses import LongResponse
from agents.http.streams import stream_response
from agents.models import AgentSession, Budget, ConnectionSlot, Event, Message, Turn
from agents.relay import close_hub
from agents.sessions import cancel_turn
from foundation.clock import now
from foundation.db_threads import in_db_thread
from ratelimits import limiter
from ratelimits.models import Bucket
from tests.support.budgets import book_spend
from tests.support.people import key_of
from tests.support.rest import JSON, V1, AsyncRest, Rest, SentEvents, bearer, problem
from tests.support.sockets import Owner, Socket, key_headers

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
async def owner(transactional_db: None) -> AsyncIterator[Owner]:
    limiter.leased_tokens.clear()
    yield await in_db_thread(_owner)
    limiter.leased_tokens.clear()
    close_hub()
    exhausted_budgets.clear()
    await sync_to_async(connections.close_all)()


def _owner() -> Owner:
    get_slots().renew()  # the tests before took its row away
    return Owner()


def lift() -> None:
    """The limits of a test are no more: all buckets are full."""
    Bucket.objects.all().delete()
    limiter.leased_tokens.clear()


def limited(**limits: int) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


def stored() -> list[int]:
    return [model.objects.count() for model in (AgentSession, Message, Turn, Event)]


def test_requests_are_answered_until_the_limit_and_then_told_when_to_come_back(owner: Owner) -> None:
    rest = Rest(owner.key)
    with limited(requests_per_minute=3):
        answers = [rest.get("sessions") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert answers[0]["RateLimit-Policy"] == '"requests";q=3;w=60, "requests-key";q=3;w=60'
        remains = [answer["RateLimit"].split(", ")[0].split(";")[:2] for answer in answers]
        assert remains == [['"requests"', f"r={left}"] for left in (2, 1, 0)]
        refused = rest.get("sessions")
        body = problem(refused, 429, "rate_limited")
        assert 1 <= int(refused["Retry-After"]) <= 20
        assert body["retry_after"] <= 20
        assert "Try again in" in body["detail"]
        assert refused["RateLimit"].startswith('"requests";r=0;t=')


def test_another_key_has_a_limit_of_its_own_within_the_accounts(owner: Owner) -> None:
    other = Rest(key_of(owner.user))
    with limited(requests_per_minute=4):
        codes = [Rest(owner.key).get("agents").status_code for _ in range(3)]
        codes += [other.get("agents").status_code for _ in range(2)]
    assert codes == [200] * 4 + [429]


def test_a_post_that_is_refused_writes_nothing(owner: Owner) -> None:
    rest = Rest(owner.key)
    before = stored()
    with limited(requests_per_minute=1):
        rest.get("agents")
        problem(rest.post("sessions", {"agent": "demo"}, Idempotency_Key="one"), 429, "rate_limited")
    assert stored() == before
    lift()
    assert rest.post("sessions", {"agent": "demo"}, Idempotency_Key="one").status_code == 201


async def test_a_message_over_the_limit_is_stored_nowhere(owner: Owner) -> None:
    rest = AsyncRest(owner.key)
    path = f"sessions/{owner.session.pk}/turns"
    with limited(messages_per_session_per_minute=2):
        for _ in range(2):
            assert (await rest.post(path, {"input": "Hi"})).status_code == 202
        before = await in_db_thread(stored)
        refused = await rest.post(path, {"input": "Hi"}, Idempotency_Key="kept")
        problem(refused, 429, "rate_limited")
        assert int(refused["Retry-After"]) >= 1
        assert await in_db_thread(stored) == before
    await in_db_thread(lift)
    # The key is as good as new.
    assert (await rest.post(path, {"input": "Hi"}, Idempotency_Key="kept")).status_code == 202


async def test_a_message_over_a_websocket_is_counted_in_the_same_buckets(owner: Owner) -> None:
    with limited(messages_per_minute=2):
        rest = AsyncRest(owner.key)
        assert (await rest.post(f"sessions/{owner.session.pk}/turns", {"input": "Hi"})).status_code == 202
        async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
            await ws.until("ready")
            create = {"type": "message.create", "text": "Hi"}
            await ws.send({**create, "client_msg_id": "one"})
            await ws.until("ack")
            await ws.send({**create, "client_msg_id": "two"})
            error = await ws.until("error")
            assert (error["code"], error["ref"], error["retryable"]) == ("rate_limited", "two", True)
            assert 1000 <= error["retry_after_ms"] <= 30_000
            # The socket stays, and what needs no message is done.
            await ws.send({"type": "ping"})
            await ws.until("pong")
    assert await in_db_thread(Message.objects.count) == 2


async def test_a_bad_key_is_refused_and_then_told_to_wait_and_good_ones_are_served(owner: Owner) -> None:
    bad, good = AsyncRest("bs_nonsense"), AsyncRest(owner.key)
    with limited(bad_keys_per_minute=2):
        for _ in range(2):
            problem(await bad.get("agents"), 401, "unauthenticated")
        refused = await bad.get("agents")
        problem(refused, 429, "rate_limited")
        assert "Retry-After" in refused
        assert (await good.get("agents")).status_code == 200
        async with Socket(owner.session.pk, key_headers("bs_nonsense")) as ws:
            # This client has no address, as behind a proxy that names none; it is counted on its own.
            assert await ws.closed() == 4401


def holder_with(owner: Owner, connections: int) -> Holder:
    """The owner's key, which may have so many connections open."""
    key = ApiKey.objects.get(user=owner.user)
    ApiKey.objects.filter(pk=key.pk).update(connections=connections)
    return Holder(owner.user.pk, key.pk)


async def all_free(owner: Owner) -> None:
    """Slots are freed a moment after their connections have ended."""
    async with asyncio.timeout(5):
        while await in_db_thread(ConnectionSlot.objects.exists):
            pass


async def test_the_socket_over_the_limit_is_refused(owner: Owner) -> None:
    headers = key_headers(owner.key)
    await in_db_thread(holder_with, owner, 2)
    async with Socket(owner.session.pk, headers) as one, Socket(owner.session.pk, headers) as two:
        await one.until("ready")
        await two.until("ready")
        async with Socket(owner.session.pk, headers) as three:
            error = await three.until("error")
            assert (error["code"], error["retryable"], error["retry_after_ms"]) == ("too_many_connections", True, 5000)
            assert await three.closed() == 4429
    async with Socket(owner.session.pk, headers) as four:
        await four.until("ready")


async def test_sockets_of_another_process_count(owner: Owner) -> None:
    other, holder = ConnectionSlots(), await in_db_thread(holder_with, owner, 1)
    slot = await in_db_thread(other.acquire, holder)
    assert slot is not None
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        assert await ws.closed() == 4429
    await in_db_thread(other.release, holder, slot)
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        await ws.until("ready")


STREAM = {"Accept": "text/event-stream"}
Way = Callable[[Owner], Awaitable[Any]]


def stream_events(owner: Owner) -> Awaitable[Any]:
    return AsyncRest(owner.key).get(f"sessions/{owner.session.pk}/events", **STREAM)


def stream_turn(owner: Owner) -> Awaitable[Any]:
    return AsyncRest(owner.key).post(f"sessions/{owner.session.pk}/turns", {"input": "Hi"}, **STREAM)


def wait_for_turn(owner: Owner) -> Awaitable[Any]:
    return AsyncRest(owner.key).post(f"sessions/{owner.session.pk}/turns", {"input": "Hi"}, Prefer="wait=30")


def complete(owner: Owner, stream: bool = False) -> Awaitable[Any]:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    return AsyncClient().post(
        "/v1/chat/completions", json.dumps(body), content_type="application/json", headers=bearer(owner.key)
    )


def stream_completion(owner: Owner) -> Awaitable[Any]:
    return complete(owner, stream=True)


WAYS: tuple[Way, ...] = (stream_events, stream_turn, wait_for_turn, complete, stream_completion)


async def test_websockets_streams_and_waiting_requests_share_the_slots(owner: Owner) -> None:
    holder = await in_db_thread(holder_with, owner, 1)
    before = await in_db_thread(stored)
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        await ws.until("ready")
        for way in WAYS:
            refused = await way(owner)
            assert (refused.status_code, refused["Retry-After"]) == (429, "5"), way
            if way in (complete, stream_completion):
                error = refused.json()["error"]
                assert (error["type"], error["code"]) == ("rate_limit_error", "too_many_connections")
            else:
                problem(refused, 429, "too_many_connections")
    assert await in_db_thread(stored) == before
    sent = SentEvents(await stream_events(owner))
    await sent.next()
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        assert await ws.closed() == 4429
    await sent.close()
    await all_free(owner)
    # A plain answer needs none.
    held = await in_db_thread(get_slots().acquire, holder)
    assert held is not None
    plain = await AsyncRest(owner.key).post(f"sessions/{owner.session.pk}/turns", {"input": "Hi"})
    assert plain.status_code == 202


async def test_whatever_ends_a_long_response_frees_its_slot(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    await in_db_thread(holder_with, owner, 1)
    # Its client leaves while it waits, for the end or for the first words.
    for way in (wait_for_turn, complete, stream_completion):
        waiting = asyncio.ensure_future(way(owner))
        async with asyncio.timeout(5):
            while not await in_db_thread(ConnectionSlot.objects.exists):
                pass
        waiting.cancel()
        await asyncio.wait([waiting])
        await all_free(owner)
    # It is refused once it has its slot.
    problem(await AsyncRest(owner.key).post(f"sessions/{uuid4()}/turns", {"input": "Hi"}, **STREAM), 404, "not_found")
    await all_free(owner)
    # Nobody closes the response, nor reads it.
    actor = await in_db_thread(authenticate_key, owner.key)
    long = LongResponse(HttpRequest(), actor)
    await in_db_thread(long.acquire_slot)
    response = stream_response(long, actor, session_id=owner.session.pk, after=0)
    del response, long
    gc.collect()
    await all_free(owner)
    # It ends with what it waits for.
    sent = SentEvents(await stream_turn(owner))
    await in_db_thread(lambda: cancel_all(owner))
    await sent.events()
    await all_free(owner)


def cancel_all(owner: Owner) -> None:
    for turn in Turn.objects.filter(finished_at=None):
        cancel_turn(owner.actor, turn_id=turn.pk)


async def test_one_can_ask_what_remains(owner: Owner) -> None:
    rest = AsyncRest(owner.key)
    await rest.post(f"sessions/{owner.session.pk}/turns", {"input": "Hi"})
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        await ws.until("ready")
        with limited(requests_per_minute=0):
            answer = await rest.get("me/limits")
    body = answer.json()
    assert body["concurrency"] == {"running_turns": {"limit": 3, "used": 0}, "connections": {"limit": 100, "used": 1}}
    assert body["spend"] is None
    mine = await in_db_thread(
        lambda: Budget.objects.create(subject="user", user=owner.user, unit="usd", period="day", amount=10)
    )
    await in_db_thread(book_spend, mine, "2.5")
    [left] = (await rest.get("me/limits")).json()["spend"]
    assert left.pop("resets_at") > body["rates"]["messages"]["resets_at"]
    assert left == {
        "budget": str(mine.pk), "subject": "user", "name": "ada", "unit": "usd", "per": "day", "limit": "10.00000000",
        "remaining": "7.50000000", "used_percent": 25,
    }  # fmt: skip
    assert set(body["rates"]) == {"messages", "messages_key", "stored_kilobytes"}
    messages = body["rates"]["messages"]
    assert (messages["limit"], messages["per_seconds"]) == (600, 60)
    assert messages["remaining"] in {599, 600}  # one comes back in a tenth of a second
    assert "RateLimit" not in answer
    problem(await rest.get("me/limits?x=1"), 422, "invalid")


def exhausted(owner: Owner) -> bool:
    return bool(exhausted_budgets.find(user_id=owner.user.pk, key_id=None, at=now()))


def raise_budget(budget: Budget) -> None:
    Budget.objects.filter(pk=budget.pk).update(amount=20)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [BUDGETS_CHANNEL])


async def test_a_budget_that_is_used_up_refuses_messages_over_every_interface(owner: Owner) -> None:
    mine = await in_db_thread(
        lambda: Budget.objects.create(subject="user", user=owner.user, unit="tokens", period="day", amount=10)
    )
    await in_db_thread(book_spend, mine, 10)
    rest, turns = AsyncRest(owner.key), f"sessions/{owner.session.pk}/turns"
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        await ws.until("ready")
        # The connection that brings the events of its sessions tells the process.
        while not exhausted(owner):
            await in_db_thread(stored)
        await ws.send({"type": "message.create", "client_msg_id": "m1", "text": "Hi"})
        refused = await ws.receive()
    answer = await rest.post(turns, {"input": "Hi"}, **STREAM)
    body = problem(answer, 429, "budget_exceeded")
    assert body["detail"].startswith("Your budget is used up. It begins anew on ")
    assert body["resets_at"].endswith("T00:00:00.000000Z")
    assert 0 < int(answer["Retry-After"]) <= 24 * 3600
    assert abs(int(answer["Retry-After"]) - body["retry_after"]) <= 1
    assert (refused["type"], refused["code"], refused["ref"]) == ("error", "budget_exceeded", "m1")
    assert not refused["retryable"]
    assert refused["resets_at"] == body["resets_at"]
    assert abs(refused["retry_after_ms"] / 1000 - body["retry_after"]) < 60
    completion = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    told = await AsyncClient().post("/v1/chat/completions", completion, JSON, headers=bearer(owner.key))
    assert (told.status_code, told["X-Should-Retry"]) == (429, "false")
    assert abs(int(told["Retry-After"]) - body["retry_after"]) < 60
    assert told.json()["error"]["code"] == "insufficient_quota"
    assert await in_db_thread(stored) == [1, 0, 0, 0]
    await in_db_thread(raise_budget, mine)
    while exhausted(owner):
        await in_db_thread(stored)
    assert (await rest.post(turns, {"input": "Hi"})).status_code == 202


def test_a_browsers_login_is_counted_like_a_key(owner: Owner) -> None:
    client = Client()
    client.force_login(owner.user)
    with limited(requests_per_minute=1):
        assert client.get(f"{V1}/agents").status_code == 200
        assert client.get(f"{V1}/agents").status_code == 429
        assert client.get(f"{V1}/agents", headers=bearer(owner.key)).status_code == 429
