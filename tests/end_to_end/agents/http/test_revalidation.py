"""What was good when it was opened and is no more: sockets and streams of a real web process end within five seconds.

All of it is taken away by bare SQL: no code of ours announces it and no NOTIFY is sent. What is measured is the look
that a process takes by itself.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
from django.contrib.auth.models import Group
from django.db import connection
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from accounts.roles import Role
from agents.models import Agent
from foundation.db_threads import in_db_thread
from tests.end_to_end.agents.ws.test_websocket_server import Web
from tests.support.people import agent, key_of, person
from tests.support.sockets import Owner, login_of

pytestmark = pytest.mark.usefixtures("transactional_db")

WITHIN_SECONDS = 5.0


def sql(*statements: str, **values: Any) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement, values)


def _mine(statement: str, *more: str) -> Callable[[Owner], None]:
    return lambda owner: sql(statement, *more, user=owner.user.pk, session=owner.session.pk)


_DELETE_SESSION = "DELETE FROM agents_agentsession WHERE id = %(session)s"
_ALL_OF_A_USER = [
    _DELETE_SESSION,
    "DELETE FROM accounts_apikey WHERE user_id = %(user)s",
    "DELETE FROM accounts_user_groups WHERE user_id = %(user)s",
    "DELETE FROM accounts_user WHERE id = %(user)s",
]

# Case: opened with, what takes it away, the code that the socket is closed with.
CASES: dict[str, tuple[str, Callable[[Owner], None], int]] = {
    "key revoked": ("key", _mine("UPDATE accounts_apikey SET revoked_at = now() WHERE user_id = %(user)s"), 4403),
    "key expired": ("key", _mine("UPDATE accounts_apikey SET expires_at = now() WHERE user_id = %(user)s"), 4403),
    "logged out": (
        "login",
        lambda owner: sql("DELETE FROM django_session WHERE session_key = %(key)s", key=owner.login),
        4403,
    ),
    "password changed": ("login", _mine("UPDATE accounts_user SET password = 'x' WHERE id = %(user)s"), 4403),
    "role lost": ("login", _mine("DELETE FROM accounts_user_groups WHERE user_id = %(user)s"), 4403),
    "role lost by key": ("key", _mine("DELETE FROM accounts_user_groups WHERE user_id = %(user)s"), 4403),
    "user deactivated": ("login", _mine("UPDATE accounts_user SET is_active = false WHERE id = %(user)s"), 4403),
    "user deleted": ("key", _mine(*_ALL_OF_A_USER), 4403),
    "agent taken away": (
        "login",
        _mine(
            "DELETE FROM accounts_user_groups WHERE user_id = %(user)s AND group_id IN"
            " (SELECT group_id FROM agents_agent_groups)"
        ),
        4404,
    ),
    "session deleted": ("key", _mine(_DELETE_SESSION), 4404),
}


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    started = Web(tmp_path_factory.mktemp("web"))
    yield started
    started.program.kill()


def _owners() -> dict[str, Owner]:
    owners = {}
    for case, (kind, _, _) in CASES.items():
        owner = Owner(case.replace(" ", "-"), case.replace(" ", "-"))
        if kind == "login":
            owner.login = login_of(owner.user)
        owners[case] = owner
    # Their agent is for one group only, which they are in.
    group = Group.objects.create(name="few")
    Agent.objects.get(slug="agent-taken-away").groups.add(group)
    owners["agent taken away"].user.groups.add(group)
    return owners


def _headers(web: Web, owner: Owner, kind: str) -> dict[str, str]:
    if kind == "key":
        return {"Authorization": f"Bearer {owner.key}"}
    return {"Cookie": f"bandstand_{web.port}={owner.login}"}


class Opened:
    """One case's socket and stream, and when each of them ended."""

    def __init__(self, web: Web, case: str, owner: Owner) -> None:
        self.web, self.case, self.owner = web, case, owner
        self.kind, self.take, self.code = CASES[case]
        self.ready = [asyncio.Event(), asyncio.Event()]
        self.ended: dict[str, float] = {}
        self.closed_with: int | None = None

    async def listen(self) -> None:
        await asyncio.gather(self._socket(), self._stream())

    async def _socket(self) -> None:
        headers = _headers(self.web, self.owner, self.kind)
        origin = Origin(f"http://127.0.0.1:{self.web.port}")
        async with self.web.socket(self.owner, additional_headers=headers, origin=origin) as ws:
            await ws.recv()
            self.ready[0].set()
            with suppress(ConnectionClosed):
                async for _ in ws:
                    pass
            self.closed_with = ws.close_code
        self.ended["socket"] = time.monotonic()

    async def _stream(self) -> None:
        headers = {**_headers(self.web, self.owner, self.kind), "Accept": "text/event-stream"}
        address = f"http://127.0.0.1:{self.web.port}/api/v1/sessions/{self.owner.session.pk}/events"
        async with aiohttp.ClientSession() as client, client.get(address, headers=headers) as answer:
            assert answer.status == 200
            await answer.content.readline()
            self.ready[1].set()
            async for _ in answer.content:
                pass
        self.ended["stream"] = time.monotonic()

    async def opened(self) -> None:
        for event in self.ready:
            await event.wait()


async def test_what_is_taken_away_ends_open_sockets_and_streams_within_five_seconds(
    web: Web, transactional_db: None, record_property: Any
) -> None:
    owners = await in_db_thread(_owners)
    await web.serving()
    cases = [Opened(web, case, owner) for case, owner in owners.items()]
    listening = [asyncio.create_task(case.listen()) for case in cases]
    async with asyncio.timeout(20):
        await asyncio.gather(*(case.opened() for case in cases))
        taken = {}
        for case in cases:
            await in_db_thread(case.take, case.owner)
            taken[case.case] = time.monotonic()
        await asyncio.gather(*listening)
    took = {(case.case, kind): at - taken[case.case] for case in cases for kind, at in case.ended.items()}
    record_property("seconds", took)
    assert max(took.values()) <= WITHIN_SECONDS, took
    assert {case.case: case.closed_with for case in cases} == {case: code for case, (_, _, code) in CASES.items()}
    # And nobody gets back in; who lost their role may still read what is their own.
    for case in cases:
        if case.case.startswith("role lost"):
            continue
        async with web.socket(case.owner, additional_headers=_headers(web, case.owner, case.kind)) as ws:
            with suppress(ConnectionClosed):
                async for _ in ws:
                    pass
            assert ws.close_code in {4401, 4403, 4404}, case.case


async def test_who_keeps_their_rights_keeps_socket_and_stream(web: Web, transactional_db: None) -> None:
    owner = await in_db_thread(Owner)
    other = await in_db_thread(lambda: key_of(person("bob", Role.USER)))
    assert other
    async with web.socket(owner) as ws:
        await ws.recv()
        await in_db_thread(
            sql, "UPDATE accounts_apikey SET revoked_at = now() WHERE user_id <> %(user)s", user=owner.user.pk
        )
        await asyncio.sleep(2.5)  # longer than the time between two looks
        await ws.send('{"type":"ping"}')
        assert await ws.recv() == '{"type":"pong"}'


def test_one_without_the_agents_group_has_no_way_to_ones_own_session(transactional_db: None) -> None:
    from accounts.permissions import user_actor
    from agents.sessions import accept_message, access_session, create_session, user_sessions
    from foundation.errors import NotFound

    group = Group.objects.create(name="few")
    agent("law", groups=[group])
    user = person("ada", Role.USER)
    user.groups.add(group)
    actor = user_actor(user)
    session = create_session(actor, agent_slug="law")
    accept_message(actor, session_id=session.pk, text="Hi")
    user.groups.remove(group)
    for attempt in (
        lambda: access_session(actor=actor, session_id=session.pk),
        lambda: accept_message(actor, session_id=session.pk, text="Hi again"),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert not user_sessions(actor).exists()
    user.groups.add(group)
    assert access_session(actor=actor, session_id=session.pk) == session
