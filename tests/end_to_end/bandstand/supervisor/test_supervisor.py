"""`make run`'s supervisor, on real processes: what it starts, restarts, refuses and leaves behind (nothing).

One installation of two web processes and two runners behind one port serves most tests, those of clients that behave
badly among them; each leaves it whole.
"""

import asyncio
import json
import os
import re
import signal
import socket
import tempfile
import uuid
from collections import Counter
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

from bandstand.embedded import Cluster
from bandstand.supervisor import process_records
from bandstand.supervisor.process_records import ChildProcess
from tests.provider import Provider
from tests.support.guide import run_tests, write_package
from tests.support.running import STOP_SECONDS, Running, wait_for
from tests.support.surroundings import free_port, share_static_files
from tests.support.webhook_receiver import WebhookReceiver, webhook_receiver

PARTS = ["runner-1", "runner-2", "scheduler", "web-1", "web-2"]
PATIENCE_SECONDS = 60.0
# Enough connections that the kernel gives each process some of them, and fewer than one person may have.
DOORS = 14
# Where a test starts a provider for the models of `openai:`.
PROVIDER_PORT = free_port()
# Publishes an agent whose first model is down.
RELAY = """
from accounts.actor import Actor
from agents.releases import create_agent, publish
tests = Actor.system("tests")
chain = ["openai:first.fault-503", "openai:second.text-Whole"]
relay = create_agent(tests, details={"slug": "relay", "name": "Relay"}, model_chain=chain)
publish(tests, agent_id=relay.pk, expected_version=1)
"""
QUICK = "[[offline pace_ms=0 text=hi]]"
ANSWER = "one two three four five six seven eight nine ten"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A place that the database's account can reach."""
    with tempfile.TemporaryDirectory(prefix="bandstand-test-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def older_server(folder: Path) -> Path:
    """The data directory of a PostgreSQL 16 that does not run; tests leave it so."""
    data_dir = folder / "older"
    cluster = Cluster(data_dir, 16)
    cluster.start()
    cluster.stop()
    return data_dir


@pytest.fixture(scope="module")
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def installation(folder: Path, receiver: WebhookReceiver) -> Iterator[Running]:
    address = f"http://127.0.0.1:{PROVIDER_PORT}/v1"
    addresses = {"BANDSTAND_WATCHDOG_WEBHOOK": receiver.url, "BANDSTAND_HEARTBEAT_URL": receiver.url}
    settings = {"WEB": "2", "RUNNERS": "2", "OPENAI_BASE_URL": address, **addresses}
    running = Running(folder / "running", None, **settings).wait_until_ready()
    yield running
    assert running.end(signal.SIGINT) <= STOP_SECONDS
    assert running.process.returncode == 0
    assert running.left() == []


@pytest.fixture
def running(installation: Running) -> Running:
    """An installation that runs; a test may kill its parts, and waits until they are back."""
    wait_for(lambda: sorted(installation.children()) == PARTS)
    installation.wait_until_all_parts_work()
    return installation


def refusal(running: Running) -> str:
    """The one line of a start that was refused."""
    assert running.wait() != 0
    lines = [line for line in running.lines if line.startswith("bandstand: ")]
    assert len(lines) == 1, running.said
    assert "Traceback" not in running.said
    return lines[0]


def test_a_first_start_shows_address_and_login_and_keeps_them_private(running: Running) -> None:
    assert f"http://127.0.0.1:{running.port}/" in running.said
    login = running.data_dir / "login.txt"
    password = login.read_text().split("password: ")[1].strip()
    assert password in running.said
    assert str(login) in running.said
    assert "OPENAI_BASE_URL is set" in running.said
    assert login.stat().st_mode & 0o777 == 0o600


def test_all_parts_work(running: Running) -> None:
    assert running.get("/ready")[0] == 200
    assert sorted(running.children()) == PARTS
    for runner in ("runner-1", "runner-2"):
        wait_for((running.data_dir / "run" / f"{runner}.alive").exists)


def test_every_process_that_may_stand_still_has_a_file_that_says_it_does_not(running: Running) -> None:
    for name in PARTS:
        file = running.data_dir / "run" / f"{name}.alive"
        wait_for(file.exists)
        before = file.stat().st_mtime_ns
        wait_for(lambda file=file, before=before: file.stat().st_mtime_ns > before)  # type: ignore[misc]


def test_while_all_is_well_the_heartbeat_is_called(running: Running, receiver: WebhookReceiver) -> None:
    wait_for(lambda: receiver.calls)
    assert receiver.url not in running.said


def test_a_second_start_on_the_same_data_is_refused(running: Running) -> None:
    told = refusal(Running(running.data_dir))
    assert f"is in use by process {running.process.pid} at 127.0.0.1:{running.port}" in told


def test_a_taken_port_is_refused(running: Running, folder: Path) -> None:
    told = refusal(Running(folder / "other", running.port))
    assert told.startswith(f"bandstand: PORT: another program listens on 127.0.0.1:{running.port}")


def test_a_foreign_folder_is_refused_and_left_alone(folder: Path) -> None:
    foreign = folder / "foreign"
    foreign.mkdir(exist_ok=True)
    (foreign / "thesis.txt").write_text("years of work")
    assert "was not made by Bandstand" in refusal(Running(foreign))
    assert [path.name for path in foreign.iterdir()] == ["thesis.txt"]


def test_a_wrong_environment_is_refused(folder: Path) -> None:
    running = Running(folder / "wrong", BANDSTAND_LEASE_SECONDS="1")
    assert refusal(running).startswith("bandstand: BANDSTAND_LEASE_SECONDS: ")
    assert running.process.returncode == 78
    assert not running.data_dir.exists()


def test_data_of_another_major_version_is_refused(older_server: Path) -> None:
    old = older_server
    running = Running(old, BANDSTAND_KEY_PEPPER="x7Kq" * 20, SECRET_KEY="k2Vb" * 20)
    assert "its file in" in refusal(running)  # one key is neither made nor given
    (old / "postgres.json").rename(old / "aside")
    from bandstand import installation_secrets

    installation_secrets.make(old)
    (old / "aside").rename(old / "postgres.json")
    assert "was made by PostgreSQL 16, this is PostgreSQL 18" in refusal(Running(old))


def test_a_database_elsewhere_that_is_not_there_is_named(folder: Path) -> None:
    keys = {name: os.environ[name] for name in ("SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY")}
    running = Running(folder / "elsewhere", None, DATABASE_URL="postgresql://u:canary@/x?host=/no/such/place", **keys)
    told = refusal(running)
    assert told.startswith("bandstand: DATABASE_URL: cannot connect to the database: ")
    assert "canary" not in running.said


def test_an_older_server_elsewhere_is_used_but_not_without_durability(folder: Path, older_server: Path) -> None:
    keys = {name: os.environ[name] for name in ("SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY")}
    careless = Cluster(older_server, 16, settings={"fsync": "off"})
    told = refusal(Running(folder / "client", None, DATABASE_URL=careless.start(), **keys))
    assert told.startswith("bandstand: PostgreSQL runs with fsync=off")
    careless.stop()
    careful = Cluster(older_server, 16)
    share_static_files(folder / "client")
    running = Running(folder / "client", None, DATABASE_URL=careful.start(), **keys).wait_until_ready()
    running.wait_until_all_parts_work()
    assert not (folder / "client" / "keys").exists()
    running.end()
    assert careful.pid is not None  # it is not ours to stop
    careful.stop()


@pytest.mark.parametrize("name", ["web-1", "runner-1", "scheduler"])
def test_a_killed_child_is_started_again(running: Running, name: str) -> None:
    before = wait_for(running.children)
    wait_for(lambda: name in running.children())
    killed = running.children()[name]
    started = ChildProcess(name, killed, psutil.Process(killed).create_time())
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: running.children().get(name, killed) != killed)
    wait_for(lambda: not process_records.members(started))  # the scheduler's workers, too
    assert {k: v for k, v in running.children().items() if k != name} == {k: v for k, v in before.items() if k != name}
    running.wait_until_all_parts_work()
    assert f"{name} ended (SIGKILL), starting it again" in running.said


def test_no_connection_is_refused_while_a_web_process_is_replaced(running: Running) -> None:
    before = {name: pid for name, pid in running.children().items() if name.startswith("web")}
    for pid in before.values():
        os.kill(pid, signal.SIGTERM)
    statuses = [running.get("/health")[0] for _ in range(10)]
    assert set(statuses) == {200}
    wait_for(lambda: not before.items() & running.children().items())


def test_a_killed_database_is_started_again(running: Running) -> None:
    cluster = Cluster(running.data_dir)
    killed = cluster.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: cluster.pid not in {None, killed})
    running.wait_until_all_parts_work()


def test_what_a_killed_supervisor_left_is_cleaned_up_and_a_second_signal_ends_what_will_not_end(folder: Path) -> None:
    data_dir = folder / "killed"
    share_static_files(data_dir)
    first = Running(data_dir, BANDSTAND_EMBEDDINGS="minilm").wait_until_ready()
    orphans = first.children()
    database = Cluster(data_dir).pid
    first.process.kill()
    first.wait()
    assert all(psutil.pid_exists(pid) for pid in [*orphans.values(), database or 0])

    second = Running(data_dir, first.port, RUNNERS="0", BANDSTAND_EMBEDDINGS="minilm").wait_until_ready()
    assert "Ended what a killed supervisor had left" in second.said
    assert not set(orphans.values()) & set(second.children().values())
    assert Cluster(data_dir).pid != database
    password = re.search("password: (.*)", (data_dir / "login.txt").read_text())
    assert password is not None
    assert password[1] not in second.said  # it was shown once

    os.kill(second.children()["web-1"], signal.SIGSTOP)
    second.process.send_signal(signal.SIGTERM)
    wait_for(lambda: "Stopping" in second.said)
    assert second.end() <= STOP_SECONDS
    assert second.left() == []


def test_a_signal_during_the_start_ends_it(folder: Path) -> None:
    running = Running(folder / "hasty")
    wait_for(lambda: "Starting PostgreSQL" in running.said)
    assert running.end() <= STOP_SECONDS
    assert running.process.returncode == 0
    assert running.left() == []


# --- two web processes and two runners behind one port, and clients that behave badly ---


@pytest.fixture(scope="module")
def key(installation: Running) -> str:
    return installation.manage("create_api_key", "--user", "owner").strip()


@pytest.fixture
async def rest(running: Running, key: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that makes a new connection for every request."""
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_SECONDS)
    base = f"http://127.0.0.1:{running.port}"
    async with aiohttp.ClientSession(base, connector=connector, headers=headers, timeout=timeout) as client:
        yield client


async def new_session(rest: aiohttp.ClientSession, agent: str = "demo") -> str:
    async with rest.post("/api/v1/sessions", json={"agent": agent}) as answer:
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


async def test_all_runners_leave_a_model_alone_that_is_down(running: Running, rest: aiohttp.ClientSession) -> None:
    await asyncio.to_thread(running.manage, "shell", "-c", RELAY)
    provider = Provider()
    await provider.start("127.0.0.1", PROVIDER_PORT)
    try:
        sessions = [await new_session(rest, "relay") for _ in range(DOORS)]
        turns = await asyncio.gather(*(play(rest, session, "Hello") for session in sessions))
    finally:
        await provider.stop()
    ends = {(turn["status"], turn["answered_by"], turn["fallback"]) for turn in turns}
    assert ends == {("completed", "openai:second.text-Whole", None)}
    asked = Counter(request.body["model"].partition(".")[0] for request in provider.requests)
    # Five failures, those that were under way at the fifth, and perhaps one that tries it again.
    assert asked["first"] <= 10
    assert asked["second"] == DOORS


async def test_a_client_that_never_reads_and_one_that_floods_harm_nobody(
    running: Running, key: str, rest: aiohttp.ClientSession
) -> None:
    loud, quiet = await new_session(rest), await new_session(rest)
    # Each process has loaded what it needs for a turn, and of one that is started meanwhile everything would count.
    for _ in range(2 * len(web_processes(running))):
        await play(rest, quiet, QUICK)
    before = {process.pid: process.memory_info().rss for process in web_processes(running)}
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
        grown = sum(
            process.memory_info().rss - before[process.pid]
            for process in web_processes(running)
            if process.pid in before
        )
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
