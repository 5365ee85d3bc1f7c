"""The spans of a web process: a turn is asked, and followed, by each way in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import connections
from django.test import AsyncClient

from agents.http.request_spans import SSE, SessionDelivery
from agents.models import Turn
from agents.relay import LoggedEvent, close_hub
from foundation.clock import now
from foundation.db_threads import in_db_thread
from foundation.ids import new_id
from foundation.spans import Span, process_spans, samples_nothing
from tests.support.rest import AsyncRest, SentEvents, bearer, end_turn, say, take_turn
from tests.support.sockets import Owner, Socket, key_headers

pytestmark = pytest.mark.usefixtures("transactional_db")

ID = new_id()


@pytest.fixture
async def owner(transactional_db: None) -> AsyncIterator[Owner]:
    yield await in_db_thread(Owner)
    close_hub()
    # The thread in which Django runs what is not asynchronous in tests keeps its connection.
    await sync_to_async(connections.close_all)()


@pytest.fixture(autouse=True)
def sampled() -> Iterator[None]:
    process_spans.take(1_000)
    process_spans.is_sampled = lambda *_: True
    yield
    process_spans.is_sampled = samples_nothing


def recorded() -> dict[str, Span]:
    return {span.name: span for span in process_spans.take(1_000)}


async def answer_next() -> None:
    taken = await in_db_thread(take_turn)
    await in_db_thread(say, taken, "Hello.")
    await in_db_thread(end_turn, taken, "Hello.")


async def check(owner: Owner, *transports: str) -> None:
    spans, turn = recorded(), await Turn.objects.aget()
    assert sorted(spans) == ["bandstand.admission", "bandstand.delivery"]
    assert tuple(spans[name].attributes["bandstand.transport"] for name in sorted(spans)) == transports
    for span in spans.values():
        assert (span.turn_id, span.agent_id) == (turn.pk, owner.session.agent_id)
        assert span.started_at <= span.ended_at
    assert spans["bandstand.admission"].ended_at <= spans["bandstand.delivery"].started_at


async def test_over_rest_and_server_sent_events(owner: Owner) -> None:
    rest = AsyncRest(owner.key)
    sent = SentEvents(
        await rest.post(f"sessions/{owner.session.pk}/turns", {"input": "Hi"}, Accept="text/event-stream")
    )
    await answer_next()
    await sent.events()
    await check(owner, "rest", "sse")


async def test_over_the_websocket(owner: Owner) -> None:
    async with Socket(owner.session.pk, key_headers(owner.key)) as ws:
        await ws.until("ready")
        await ws.send({"type": "message.create", "client_msg_id": "one", "text": "Hi"})
        await ws.until("ack")
        await answer_next()
        while (await ws.receive()).get("event") != "turn.completed":
            pass
        await asyncio.sleep(0)
    await check(owner, "websocket", "websocket")


async def test_over_the_interface_of_openai(owner: Owner) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "Hi"}], "stream": True}

    async def ask() -> Any:
        return await AsyncClient().generic(
            "POST", "/v1/chat/completions", json.dumps(body), "application/json", headers=bearer(owner.key)
        )

    asking = asyncio.create_task(ask())
    while not await Turn.objects.aexists():  # noqa: ASYNC110 - the database has no event
        await asyncio.sleep(0)  # the request waits for the answer
    await answer_next()
    answer = await asking
    assert b"".join([chunk async for chunk in answer.streaming_content]).endswith(b"[DONE]\n\n")
    await check(owner, "openai", "openai")


# --- without a server ---


def event(kind: str, *, turn: str = str(ID), ago: float = 0.0) -> LoggedEvent:
    return LoggedEvent(1, turn, kind, "{}", (now() - timedelta(seconds=ago)).isoformat(), None)


def deliver(*events: LoggedEvent) -> list[Span]:
    delivery = SessionDelivery(ID, ID, transport=SSE)
    for one in events:
        delivery.sent(one)
    return process_spans.take(10)


def test_a_turn_that_ended_long_ago_is_not_delivered_but_read() -> None:
    assert deliver(event("message.delta", ago=120), event("turn.completed", ago=119)) == []


def test_each_turn_of_a_session_is_a_delivery_of_its_own_and_says_how_late_it_was() -> None:
    other = str(new_id())
    spans = deliver(
        event("turn.started"),
        event("message.delta", ago=2),
        event("message.delta"),
        event("turn.completed"),
        event("message.delta", turn=other),
        event("turn.failed", turn=other),
    )
    assert [str(span.turn_id) for span in spans] == [str(ID), other]
    assert 2 <= spans[0].attributes["bandstand.lag_seconds"] < 3


def test_nothing_is_recorded_of_a_turn_that_is_not_sampled_or_without_words() -> None:
    assert deliver(event("turn.completed")) == []
    process_spans.is_sampled = samples_nothing
    assert deliver(event("message.delta"), event("turn.completed")) == []
