"""`make run WEB=2 RUNNERS=2`: two web processes and two runners behind one port, and clients that behave badly."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.support.guide import run_tests, write_package
from tests.support.running import Running

PATIENCE_SECONDS = 60.0
# Enough connections that the kernel gives each process some of them, and fewer than one person may have.
DOORS = 14
QUICK = "[[offline pace_ms=0 text=hi]]"
ANSWER = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with tempfile.TemporaryDirectory(prefix="bandstand-test-") as name:
        Path(name).chmod(0o711)
        installation = Running(Path(name) / "data", WEB="2", RUNNERS="2").wait_until_ready()
        installation.wait_until_all_parts_work()
        yield installation
        installation.end()


@pytest.fixture(scope="module")
def key(running: Running) -> str:
    return running.manage("create_api_key", "--user", "owner").strip()


@pytest.fixture
async def rest(running: Running, key: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that makes a new connection for every request."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    base = f"http://127.0.0.1:{running.port}"
    async with aiohttp.ClientSession(base, connector=connector, headers=headers, timeout=timeout) as client:
        yield client


async def new_session(rest: aiohttp.ClientSession) -> str:
    async with rest.post("/api/v1/sessions", json={"agent": "demo"}) as answer:
        assert answer.status == 201, await answer.text()
        return str((await answer.json())["id"])


async def play(rest: aiohttp.ClientSession, session: str, text: str, *, key: str | None = None) -> dict[str, Any]:
    """One turn from its acceptance to its end."""
    headers = {"Prefer": "wait=60", "Idempotency-Key": key or str(uuid.uuid4())}
    async with rest.post(f"/api/v1/sessions/{session}/turns", json={"input": text}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        turn: dict[str, Any] = await answer.json()
        return turn


@asynccontextmanager
async def door(running: Running, key: str, session: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A websocket on the session, resumed from its beginning."""
    async with connect(
        f"ws://127.0.0.1:{running.port}/ws/sessions/{session}/",
        subprotocols=[Subprotocol("bandstand.v1")],
        additional_headers={"Authorization": f"Bearer {key}"},
        **options,
    ) as opened:
        await opened.recv()
        await opened.send(json.dumps({"type": "resume", "after": 0}))
        yield opened


async def heard(opened: ClientConnection) -> list[tuple[int, str]]:
    """All events until a turn is completed."""
    events = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for text in opened:
            frame = json.loads(text)
            if frame["type"] == "event":
                events.append((frame["seq"], frame["event"]))
                if frame["event"] == "turn.completed":
                    return events
    raise AssertionError("closed before the turn was over")


def web_processes(running: Running) -> list[psutil.Process]:
    return [psutil.Process(pid) for name, pid in running.children().items() if name.startswith("web")]


def connections(process: psutil.Process, port: int) -> int:
    found = process.net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in found)


async def test_all_doors_show_one_log_whichever_process_they_lead_to(
    running: Running, key: str, rest: aiohttp.ClientSession
) -> None:
    assert sorted(name for name in running.children() if "runner" in name) == ["runner-1", "runner-2"]
    session = await new_session(rest)
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(door(running, key, session)) for _ in range(DOORS)]
        open_in = [connections(process, running.port) for process in web_processes(running)]
        assert len(open_in) == 2
        assert min(open_in) > 0, open_in
        await doors[0].send(
            json.dumps(
                {"type": "message.create", "client_msg_id": str(uuid.uuid4()), "text": f'[[offline text="{ANSWER}"]]'}
            )
        )
        logs = await asyncio.gather(*map(heard, doors))
    assert all(log == logs[0] for log in logs)
    assert [seq for seq, _ in logs[0]] == list(range(1, len(logs[0]) + 1))


async def test_one_key_over_many_doors_at_once_is_one_turn(rest: aiohttp.ClientSession) -> None:
    session, same = await new_session(rest), str(uuid.uuid4())
    turns = await asyncio.gather(*(play(rest, session, "hello", key=same) for _ in range(DOORS)))
    assert len({turn["id"] for turn in turns}) == 1
    async with rest.get(f"/api/v1/sessions/{session}/messages") as answer:
        assert [message["author"] for message in (await answer.json())["results"]] == ["user", "agent"]


async def test_a_client_that_never_reads_and_one_that_floods_harm_nobody(
    running: Running, key: str, rest: aiohttp.ClientSession
) -> None:
    before = sum(process.memory_info().rss for process in web_processes(running))
    loud, quiet = await new_session(rest), await new_session(rest)
    flood = asyncio.create_task(flooded(running, key, quiet))
    async with AsyncExitStack() as stack:
        unread: list[ClientConnection] = []
        for _ in range(DOORS):
            # A window of a few kilobytes, and nobody who empties it.
            options = {"sock": deaf(running.port), "max_queue": 1}
            unread.append(await stack.enter_async_context(door(running, key, loud, **options)))
            unread[-1].transport.pause_reading()
        for number in range(3):
            long = f'[[offline pace_ms=0 text="{ANSWER * 1000} {number}"]]'
            others = [await new_session(rest) for _ in range(4)]
            turns = await asyncio.gather(play(rest, loud, long), *(play(rest, other, QUICK) for other in others))
            assert {turn["status"] for turn in turns} == {"completed"}
        grown = sum(process.memory_info().rss for process in web_processes(running)) - before
        for each in unread:
            each.transport.abort()
    assert await flood in (4429, 1006)
    assert grown < 64 * 1024 * 1024
    assert running.get("/ready")[0] == 200


def deaf(port: int) -> socket.socket:
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


async def flooded(running: Running, key: str, session: str) -> int | None:
    """Send as fast as the server takes it; the code that it closes with, or 1006 where the close overtook it."""
    async with door(running, key, session) as opened, asyncio.timeout(PATIENCE_SECONDS):
        sending = asyncio.create_task(pinging(opened))
        with suppress(ConnectionClosed):
            async for _ in opened:
                pass
        await sending
    return opened.close_code


async def pinging(opened: ClientConnection) -> None:
    with suppress(ConnectionClosed):
        while True:
            await opened.send(json.dumps({"type": "ping"}))


def test_two_of_each_are_told_apart_in_the_logs(running: Running) -> None:
    names = sorted(path.name for path in (running.data_dir / "logs").glob("*.log"))
    assert [name for name in names if re.match("web|runner", name)] == [
        "runner-1.log", "runner-2.log", "web-1.log", "web-2.log",
    ]  # fmt: skip


def test_the_builders_guide_asks_a_release_its_questions(running: Running, key: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{running.port}"
    run_tests(write_package(tmp_path), "tests/test_release.py", BANDSTAND_URL=url, BANDSTAND_API_KEY=key)
