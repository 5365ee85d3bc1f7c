"""`python -m tests.chaos.cuts --cuts 300`: websockets cut during streams, on two web processes.

Every client that was cut dials the other process and resumes after what it has seen. What it put together must be the
text in the database, byte for byte; then the same once more with NOTIFY switched off, at most two seconds late.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from agents.journal.sql import EVENTS_CHANNEL
from bandstand.embedded import Cluster
from tests.chaos.devices import LONGEST_LINE
from tests.chaos.program import Program
from tests.chaos.reader import Reader, text_of
from tests.chaos.waiting import until
from tests.support import database
from tests.support.surroundings import ROOT, environment, free_port

DATABASE = "cuts"
WEBS = 2
CLIENTS = 6
START_SECONDS = 30.0
CALM_SECONDS = 60.0
LATEST_SECONDS = 2.0
SEEN_EVERY = 50
# One stream lasts about a second, so that there is something to cut; a cut comes after a few deltas.
LENGTH, PACE_MS = (30, 70), 20
FUSE = (1, 6)
# Of all messages, how many lose their connection before the acknowledgement and are sent again.
HANG_UP = 0.2
# Words that are easily spoilt on the way.
_WORDS = (
    "durable", "naïve", "Straße", "日本語", "e\u0301", "👩🏽‍🚀", "\u202eright\u202c", "zero\u200bwidth", '"quoted"',
    "back\\slash", "<b>&amp;</b>", "two\nlines", "a\ttab", "\u2028", "]]",
)  # fmt: skip


@dataclass
class Report:
    """What the clients saw. `faults` is empty when every promise was kept; `late_seconds` is sorted at the end."""

    wanted: int
    cuts: int = 0
    turns: int = 0
    repeated: int = 0
    events: int = 0
    notified: int = 0
    late_seconds: list[float] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def line(self, name: str) -> str:
        late = self.late_seconds or [0.0]
        return (
            f"{name}: {self.cuts} cuts, {self.turns} turns, {self.events} events, {self.repeated} messages sent again, "
            f"{self.notified} notifications, late p50 {late[len(late) // 2]:.3f} s, at most {late[-1]:.3f} s, "
            f"{len(self.faults)} faults, {self.seconds:.0f} s"
        )


@dataclass(frozen=True, slots=True)
class Said:
    """A turn as the database has it."""

    turn: str
    key: str
    status: str
    answer: str


async def cut_streams(url: str, folder: Path, *, cuts: int, notify: bool, seed: int) -> Report:
    """Cut `cuts` streams of processes on the database at `url`. `folder` holds their logs and data."""
    began, report = time.monotonic(), Report(cuts)
    accounts = await asyncio.to_thread(_seed, url, folder)
    with nullcontext() if notify else _silence(url):
        async with _counted(url, report), _processes(url, folder) as ports:
            rng = random.Random(seed)
            clients = [_Client(*account, ports, report, random.Random(rng.random())) for account in accounts]
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    group.create_task(client.run())
    said = await asyncio.to_thread(_read, url)
    report.late_seconds.sort()
    report.turns, report.seconds = len(said), time.monotonic() - began
    for client in clients:
        report.faults += client.reader.faults
        report.faults += judge(client.reader, client.expected, [turn for turn in said if turn.key in client.expected])
    if report.late_seconds and report.late_seconds[-1] > LATEST_SECONDS:
        report.faults.append(f"an event came {report.late_seconds[-1]:.1f} s late")
    if report.cuts < cuts or bool(report.notified) != notify:
        report.faults.append(f"not brought about: {report.cuts} cuts, {report.notified} notifications")
    return report


def judge(reader: Reader, expected: Mapping[str, str], said: Sequence[Said]) -> Iterator[str]:
    """What is wrong between a client, what it asked for (answers by key) and the database."""
    keys = [turn.key for turn in said]
    for key in expected:
        if keys.count(key) != 1:
            yield f"{key} has {keys.count(key)} turns"
    for turn in said:
        read = reader.turns.get(turn.turn)
        stored = turn.answer.encode()
        if turn.status != "completed" or stored != expected[turn.key].encode():
            yield f"turn {turn.turn} is {turn.status} with {turn.answer!r}"
        elif read is None or read.answer is None or read.answer.encode() != stored or read.streamed.encode() != stored:
            yield f"turn {turn.turn}: stored {turn.answer!r}, read {read}"


class _Client:
    """One person on one session: asks, loses the connection, dials the other process, goes on."""

    def __init__(self, session: str, key: str, ports: Sequence[int], report: Report, rng: random.Random) -> None:
        self.reader = Reader()
        self.expected: dict[str, str] = {}
        self._session = session
        self._key = key
        self._ports = itertools.cycle(rng.sample(ports, len(ports)))
        self._report = report
        self._rng = rng
        self._unacknowledged: dict[str, str] | None = None
        self._turn: str | None = None
        self._fuse = 0
        self._ready_at = 0.0

    async def run(self) -> None:
        while not self._done:
            with suppress(OSError, WebSocketException):
                await self._listen(next(self._ports))

    @property
    def _done(self) -> bool:
        return self._report.cuts >= self._report.wanted and bool(self.expected) and self._answered

    @property
    def _answered(self) -> bool:
        """Whether everything that was asked is acknowledged and over."""
        if self._unacknowledged is not None or self._turn is None:
            return self._unacknowledged is None
        turn = self.reader.turns.get(self._turn)
        return turn is not None and turn.status != "open"

    async def _listen(self, port: int) -> None:
        async with connect(
            f"ws://127.0.0.1:{port}/ws/sessions/{self._session}/",
            additional_headers={"Authorization": f"Bearer {self._key}"},
            subprotocols=[Subprotocol("bandstand.v1")],
            compression=None,
            proxy=None,
            close_timeout=1,
            max_size=LONGEST_LINE,
        ) as socket:
            self._fuse = self._rng.randint(*FUSE)
            await self._send(socket, {"type": "resume", "after": self.reader.seq})
            if self._unacknowledged is not None:
                self._report.repeated += 1
                await self._send(socket, self._unacknowledged)
            while not self._done:
                if self._answered:
                    await self._ask(socket)
                async with asyncio.timeout(CALM_SECONDS):
                    await self._heard(socket, json.loads(await socket.recv()))

    async def _ask(self, socket: ClientConnection) -> None:
        words = self._rng.choices(_WORDS, k=self._rng.randint(*LENGTH))
        key, answer = str(uuid.UUID(int=self._rng.getrandbits(128), version=4)), " ".join(words)
        self.expected[key] = answer
        text = f"[[offline text={json.dumps(answer)} pace_ms={PACE_MS}]]"
        self._unacknowledged = {"type": "message.create", "client_msg_id": key, "text": text}
        await self._send(socket, self._unacknowledged)
        if self._rng.random() < HANG_UP:
            socket.transport.abort()

    async def _heard(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        if frame["type"] == "ready":
            self._ready_at = time.time()
        elif frame["type"] == "ack":
            self._unacknowledged, self._turn = None, frame["turn"]
        elif frame["type"] == "event":
            await self._event(socket, frame)
        else:
            self.reader.faults.append(f"unexpected: {str(frame)[:300]}")

    async def _event(self, socket: ClientConnection, frame: dict[str, Any]) -> None:
        self.reader.event(frame)
        # Nobody can be told sooner than they are there.
        told_at = max(datetime.fromisoformat(frame["at"]).timestamp(), self._ready_at)
        self._report.late_seconds.append(time.time() - told_at)
        self._report.events += 1
        if self.reader.seq % SEEN_EVERY == 0:
            await self._send(socket, {"type": "seen", "seq": self.reader.seq})
        if frame["event"] == "message.delta":
            self._burn(socket)

    def _burn(self, socket: ClientConnection) -> None:
        self._fuse -= 1
        if self._fuse == 0 and self._report.cuts < self._report.wanted:
            self._report.cuts += 1
            socket.transport.abort()

    @staticmethod
    async def _send(socket: ClientConnection, frame: dict[str, Any]) -> None:
        await socket.send(json.dumps(frame))


def _read(url: str) -> list[Said]:
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT t.id::text, t.idempotency_key, t.status, m.parts FROM agents_turn t"
            " LEFT JOIN agents_message m ON m.turn_id = t.id AND m.author = 'agent'"
        )
        return [Said(turn, key, status, text_of(parts or [])) for turn, key, status, parts in rows]


# --- the processes ---


@asynccontextmanager
async def _processes(url: str, folder: Path) -> AsyncIterator[list[int]]:
    """Two web processes and a runner; the ports of the former."""
    ports = [free_port() for _ in range(WEBS)]
    programs = [_start(f"web-{port}", "runweb", url, folder, HOST="127.0.0.1", PORT=str(port)) for port in ports]
    programs.append(_start("runner", "runagents", url, folder))
    try:
        for port in ports:
            await until(partial(_takes, port), seconds=START_SECONDS, what=f"a web process on {port}")
        yield ports
    finally:
        for program in programs:
            program.kill()


def _start(name: str, command: str, url: str, folder: Path, **env: str) -> Program:
    log = folder / f"{name}.log"
    return Program(name, ["tests.chaos.child", command], env={**_environment(url, folder), **env}, log=log)


def _environment(url: str, folder: Path) -> dict[str, str]:
    return environment(
        DATABASE_URL=url,
        BANDSTAND_DATA_DIR=str(folder),
        BANDSTAND_MODEL="offline:",
        BANDSTAND_RUNNING_TURNS_PER_USER="100",
    )


def _seed(url: str, folder: Path) -> list[tuple[str, str]]:
    """The session and the key of each client."""
    with (folder / "seed.log").open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.child", "seed"],
            cwd=ROOT, env={**_environment(url, folder), "CHAOS_SESSIONS": str(CLIENTS)},
            check=True, stdout=subprocess.PIPE, stderr=log, text=True,
        )  # fmt: skip
    return [(seed["session"], seed["key"]) for seed in json.loads(done.stdout.splitlines()[-1])]


async def _takes(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


# --- notifications ---


@contextmanager
def _silence(url: str) -> Iterator[None]:
    """NOTIFY switched off, for everybody and without a change to the product: its function is shadowed."""
    name = urlsplit(url).path.lstrip("/")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA silence")
        connection.execute(
            "CREATE FUNCTION silence.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT NULL::void'"
        )
        path = "silence, public, pg_catalog"
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = " + path).format(sql.Identifier(name)))
        try:
            yield
        finally:
            connection.execute(sql.SQL("ALTER DATABASE {} RESET search_path").format(sql.Identifier(name)))
            connection.execute("DROP SCHEMA silence CASCADE")


@asynccontextmanager
async def _counted(url: str, report: Report) -> AsyncIterator[None]:
    """Count what is notified meanwhile."""

    async def count(connection: psycopg.AsyncConnection[Any]) -> None:
        async for _ in connection.notifies():
            report.notified += 1

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(f"LISTEN {EVENTS_CHANNEL}".encode())
        counting = asyncio.create_task(count(connection), name="count notifications")
        try:
            yield
        finally:
            counting.cancel()
            await asyncio.wait([counting])


# --- the command ---


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cuts", description=__doc__)
    parser.add_argument("--cuts", type=int, default=300)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ.pop("DATABASE_URL", None)
    database.set_environment()
    home = database.take_slot(ROOT / ".cache" / "chaos")
    cluster = Cluster(home / "cluster")
    print(f"seed {options.seed}", flush=True)
    faults = 0
    try:
        template = database.make_template(cluster.start())
        for notify in (True, False):
            report = _pass(cluster.url, template, home / "cuts", options.cuts, notify=notify, seed=options.seed)
            print(report.line("with NOTIFY" if notify else "without NOTIFY"), *report.faults, sep="\n  ", flush=True)
            faults += len(report.faults)
    finally:
        cluster.stop()
    return 1 if faults else 0


def _pass(base: str, template: str, folder: Path, cuts: int, *, notify: bool, seed: int) -> Report:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)'.encode())
        connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{template}"'.encode())
    url = urlunsplit(urlsplit(base)._replace(path=f"/{DATABASE}"))
    return asyncio.run(cut_streams(url, folder, cuts=cuts, notify=notify, seed=seed))


if __name__ == "__main__":
    raise SystemExit(main())
