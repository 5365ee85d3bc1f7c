"""Limits hold over two real web processes on one database, and heal when one of them is killed."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import cycle

import pytest
from django.db import connection
from websockets.asyncio.client import ClientConnection

from accounts.models import ApiKey
from agents.models import Message, Turn
from agents.sessions import cancel_turn
from foundation.db_threads import in_db_thread
from tests.end_to_end.agents.ws.test_websocket_server import PATIENCE_SECONDS, Web, closed, receive
from tests.support.message_doors import ACCEPTED, REFUSED, Doors
from tests.support.sockets import Owner

pytestmark = pytest.mark.usefixtures("transactional_db")

LIMITS = {
    "BANDSTAND_MESSAGES_PER_HOUR": "10",
    "BANDSTAND_QUEUE_DEPTH": "1000",
}


@pytest.fixture
def webs(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Web]]:
    started = [Web(tmp_path_factory.mktemp("web"), **LIMITS) for _ in range(2)]
    yield started
    for web in started:
        web.program.kill()


@pytest.fixture
def owner(transactional_db: None) -> Owner:
    return Owner()


async def opened(stack: AsyncExitStack, web: Web, owner: Owner) -> ClientConnection:
    ws = await stack.enter_async_context(web.socket(owner))
    assert (await receive(ws))["type"] == "ready"
    return ws


async def opened_soon(stack: AsyncExitStack, web: Web, owner: Owner) -> ClientConnection:
    """In the place of a socket that was just closed, which its process is about to give back."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            ws = await stack.enter_async_context(web.socket(owner))
            if (await receive(ws))["type"] == "ready":
                return ws


async def refused(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        frame = await receive(ws)
        assert (frame["code"], frame["retryable"]) == ("too_many_connections", True)
        assert await closed(ws) == 4429


def lease_is_over() -> None:
    """Fifteen seconds after the process with two sockets was last heard of."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE agents_webprocess SET expires_at = now() WHERE id ="
            " (SELECT process_id FROM agents_connectionslot GROUP BY process_id HAVING count(*) = 2)"
        )


async def a_rate_is_exact_over_both_and_over_all_ways(webs: list[Web], owner: Owner) -> None:
    for web in webs:
        await web.serving()
    doors = [Doors(web.port, key=owner.key, session_id=str(owner.session.pk)) for web in webs]
    sending = [asyncio.ensure_future(each.send(number)) for number, each in zip(range(100), cycle(doors))]
    refused = 0
    async with asyncio.timeout(60):
        for next_one in asyncio.as_completed(sending):
            if await next_one == REFUSED and (refused := refused + 1) == 90:
                break
    # Who asked over `/v1` waits for an answer, and there is no runner.
    await in_db_thread(end_turns, owner)
    outcomes = Counter(await asyncio.gather(*sending))
    assert outcomes == {ACCEPTED: 10, REFUSED: 90}
    assert await in_db_thread(lambda: (Message.objects.count(), Turn.objects.count())) == (10, 10)


def end_turns(owner: Owner) -> None:
    for turn in Turn.objects.filter(finished_at=None):
        cancel_turn(owner.actor, turn_id=turn.pk)


async def sockets_are_counted_together_and_those_of_a_killed_process_are_free(webs: list[Web], owner: Owner) -> None:
    await in_db_thread(ApiKey.objects.update, connections=3)
    one, other = webs
    async with AsyncExitStack() as stack:
        await opened(stack, one, owner)
        await opened(stack, one, owner)
        mine = await opened(stack, other, owner)
        for web in webs:
            await refused(web, owner)
        await mine.close()
        mine = await opened_soon(stack, other, owner)
        one.program.kill()
        await refused(other, owner)  # it may be only slow
        await in_db_thread(lease_is_over)
        await opened(stack, other, owner)
        await opened(stack, other, owner)
        await refused(other, owner)


async def test_a_rate_is_exact_over_all_ways_and_sockets_are_counted_together_also_when_a_process_is_killed(
    webs: list[Web], owner: Owner
) -> None:
    await a_rate_is_exact_over_both_and_over_all_ways(webs, owner)
    await sockets_are_counted_together_and_those_of_a_killed_process_are_free(webs, owner)
