"""The websocket as a client on the network meets it: one real web process, one real client library."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin, Subprotocol

from agents.sessions import accept_message
from foundation.db_threads import in_db_thread
from tests.chaos.program import Program
from tests.chaos.waiting import until
from tests.support.sockets import Owner, deltas, login_of, write_events
from tests.support.surroundings import database_url, environment, free_port

pytestmark = pytest.mark.usefixtures("transactional_db")

START_SECONDS = 30.0
PATIENCE_SECONDS = 10.0


class Web:
    """A web process on the test database."""

    def __init__(self, folder: Path, **settings_of_it: str) -> None:
        self.port = free_port()
        env = environment(
            DATABASE_URL=database_url(settings.DATABASES["default"]["NAME"]),
            BANDSTAND_DATA_DIR=str(folder),
            HOST="127.0.0.1",
            PORT=str(self.port),
            **settings_of_it,
        )
        self.program = Program("web", ["tests.chaos.child", "runweb"], env=env, log=folder / "web.log")

    async def serving(self) -> None:
        await until(self._takes, seconds=START_SECONDS, what="the web process")

    async def _takes(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    @asynccontextmanager
    async def socket(self, owner: Owner, path: str | None = None, **options: Any) -> AsyncIterator[ClientConnection]:
        options.setdefault("additional_headers", {"Authorization": f"Bearer {owner.key}"})
        options.setdefault("subprotocols", [Subprotocol("bandstand.v1")])
        options.setdefault("max_size", None)
        await self.serving()
        address = f"ws://127.0.0.1:{self.port}{path or f'/ws/sessions/{owner.session.pk}/'}"
        async with asyncio.timeout(PATIENCE_SECONDS), connect(address, proxy=None, close_timeout=2, **options) as ws:
            yield ws


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    started = Web(tmp_path_factory.mktemp("web"))
    yield started
    started.program.kill()


@pytest.fixture
def owner(transactional_db: None) -> Owner:
    return Owner()


async def receive(ws: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await ws.recv())
    return frame


async def send(ws: ClientConnection, **frame: Any) -> None:
    await ws.send(json.dumps(frame))


async def closed(ws: ClientConnection) -> int | None:
    """The code that the server closes with; frames before it are dropped."""
    with suppress(ConnectionClosed):
        async for _ in ws:
            pass
    return ws.close_code


async def test_a_message_is_acknowledged_and_its_events_follow(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        assert ws.subprotocol == "bandstand.v1"
        await send(ws, type="resume", after=0)
        await send(ws, type="message.create", client_msg_id="one", text="Hello 👋")
        frames = [await receive(ws) for _ in range(4)]
    assert [frame["type"] for frame in frames].count("ack") == 1
    events = [frame["event"] for frame in frames if frame["type"] == "event"]
    assert events == ["message.created", "turn.queued"]


async def test_what_other_processes_write_is_relayed(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        await send(ws, type="resume", after=0)
        assert (await receive(ws))["type"] == "ready"
        await deltas(owner.session.pk, 3)
        assert [(await receive(ws))["seq"] for _ in range(3)] == [1, 2, 3]


async def test_a_login_opens_a_socket_from_the_page_it_belongs_to(web: Web, owner: Owner) -> None:
    cookie = f"bandstand_{web.port}={await in_db_thread(login_of, owner.user)}"
    own, other = Origin(f"http://127.0.0.1:{web.port}"), Origin("http://127.0.0.1:1")
    async with web.socket(owner, additional_headers={"Cookie": cookie}, origin=own) as ws:
        assert (await receive(ws))["type"] == "ready"
    async with web.socket(owner, additional_headers={"Cookie": cookie}, origin=other) as ws:
        assert await closed(ws) == 4403


async def test_refusals_show_their_code(web: Web, owner: Owner) -> None:
    async with web.socket(owner, additional_headers={}) as ws:
        assert await closed(ws) == 4401
    for path in ("/ws/sessions/01a2029b-0d95-70ab-8607-464b850af150/", "/ws/sessions/1/", "/ws/", "/elsewhere"):
        async with web.socket(owner, path) as ws:
            assert await closed(ws) == 4404


async def test_a_snapshot_may_be_larger_than_what_clients_may_send(web: Web, owner: Owner) -> None:
    for number in range(6):
        text = f"{number}" * 60_000
        await in_db_thread(accept_message, owner.actor, session_id=owner.session.pk, text=text)
    async with web.socket(owner) as ws:
        await send(ws, type="resume", after=2**53 - 1)
        assert (await receive(ws))["type"] == "ready"
        snapshot = await receive(ws)
    assert snapshot["type"] == "resync"
    assert sum(len(message["parts"][0]["text"]) for message in snapshot["messages"]) == 360_000


async def test_an_event_may_be_larger_than_what_clients_may_send(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        await send(ws, type="resume", after=0)
        assert (await receive(ws))["type"] == "ready"
        await in_db_thread(write_events, owner.session.pk, [("message.delta", {"text": "x" * 600_000})])
        assert len((await receive(ws))["data"]["text"]) == 600_000


@pytest.mark.parametrize("size", [256 * 1024, 300 * 1024, 3 * 1024 * 1024])
async def test_a_frame_that_is_too_large_closes_with_a_code(web: Web, owner: Owner, size: int) -> None:
    async with web.socket(owner) as ws:
        assert (await receive(ws))["type"] == "ready"
        with suppress(ConnectionClosed):  # the code is looked at below
            await send(ws, type="message.create", client_msg_id="one", text="x" * size)
        assert await closed(ws) == 4413


async def test_text_that_is_no_utf_8_closes_with_a_code(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        assert (await receive(ws))["type"] == "ready"
        ws.protocol.send_text(b"\xff\xfe")
        ws.send_data()
        assert await closed(ws) == 1007


async def test_a_bad_frame_and_a_binary_one_keep_the_socket(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        assert (await receive(ws))["type"] == "ready"
        for bad in ("{", b"binary", "[" * 20_000):
            await ws.send(bad)
            assert (await receive(ws))["code"] == "malformed"
        await send(ws, type="ping")
        assert (await receive(ws))["type"] == "pong"


async def test_a_flood_closes_with_a_code(web: Web, owner: Owner) -> None:
    async with web.socket(owner) as ws:
        assert (await receive(ws))["type"] == "ready"
        for _ in range(200):
            await send(ws, type="ping")
        assert await closed(ws) == 4429


async def test_a_process_that_ends_says_so(owner: Owner, tmp_path: Path) -> None:
    web = Web(tmp_path)
    try:
        async with web.socket(owner) as ws:
            assert (await receive(ws))["type"] == "ready"
            web.program.ended_by_us = True
            web.program.signal(signal.SIGTERM)
            assert await closed(ws) == 1012
        assert await web.program.gone(seconds=PATIENCE_SECONDS, why="after SIGTERM") == 0
    finally:
        web.program.kill()
