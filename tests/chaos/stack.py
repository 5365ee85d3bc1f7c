"""The processes of one pass: PostgreSQL, the model provider, web processes, runners."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import psycopg

from bandstand.embedded import Cluster
from tests.chaos import child
from tests.chaos.plan import Plan
from tests.chaos.program import ROOT, Program
from tests.chaos.proxy import Proxy
from tests.chaos.waiting import until
from tests.support.surroundings import PYTHON_PATH, free_port

LEASE_SECONDS, HEARTBEAT_SECONDS, DRAIN_SECONDS = 3, 1, 4
START_SECONDS = 30.0
SUPERVISED_SECONDS = 0.2

Rows = list[tuple[Any, ...]]


class Database:
    """The cluster of a pass, and questions to it that survive its death."""

    def __init__(self, cluster: Cluster, url: str) -> None:
        self.cluster = cluster
        self.url = url
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._lock = asyncio.Lock()

    async def rows(self, query: str, **params: Any) -> Rows:
        """The rows of one statement. Raises `psycopg.OperationalError` while the server is down."""
        async with self._lock:
            try:
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(self.url, autocommit=True)
                cursor = await self._connection.execute(query.encode(), params)
                return await cursor.fetchall()
            except psycopg.OperationalError:
                await self.close()
                raise

    async def rows_soon(self, query: str, **params: Any) -> Rows:
        """As `rows`, but waits for a server that is about to come back."""

        async def attempt() -> list[Rows]:
            try:
                return [await self.rows(query, **params)]
            except psycopg.OperationalError:
                return []

        [found] = await until(attempt, seconds=START_SECONDS, what="an answer from PostgreSQL")
        return found

    async def crash(self) -> None:
        """SIGKILL the server and start it again."""
        await asyncio.to_thread(self.cluster.kill)
        await asyncio.to_thread(self.cluster.start)

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class Stack:
    """Everything that runs. Runners and web processes are lists of slots whose programs may be replaced."""

    def __init__(self, plan: Plan, folder: Path, cluster: Cluster, template: str) -> None:
        self.plan = plan
        self.folder = folder
        self.hits = folder / "hits"
        self.notes = folder / "data"
        self._cluster = cluster
        self._template = template
        self._env: dict[str, str] = {}
        self._count = 0
        self._programs: list[Program] = []
        self.database: Database
        self.proxy: Proxy
        self.ports: list[int] = []
        self.runners: list[Program] = []
        self.webs: list[Program] = []
        self.seeds: list[dict[str, str]] = []
        self.restarts = 0
        self._provider_url = ""

    async def start(self) -> None:
        """Raises `NotSeen` when a part does not come up."""
        url = await asyncio.to_thread(self._make_database)
        self.database = Database(self._cluster, url)
        self.ports = [free_port() for _ in range(self.plan.webs)]
        self._env = _environment(url, self.folder / "data", flaky=self.plan.flaky)
        base_url = self._env["OPENAI_BASE_URL"] = await self._start_provider()
        self._provider_url = base_url.removesuffix("/v1")
        self.seeds = await asyncio.to_thread(self._seed)
        await self._make_durable()
        self.runners = [self.start_runner() for _ in range(self.plan.runners)]
        self.webs = [self.start_web(number) for number in range(self.plan.webs)]
        self._start("folder", ["tests.chaos.child", "fold"], {})
        self.proxy = Proxy(self.ports)
        await self.proxy.start()
        for port in self.ports:
            await self.serving(port)

    async def stop(self) -> None:
        """Everything that was started ends, whatever state it is in."""
        if hasattr(self, "proxy"):
            await self.proxy.stop()
        for program in self._programs:
            program.kill()
        if hasattr(self, "database"):
            await self.database.close()

    def start_runner(self, **chaos: str) -> Program:
        """`chaos`: `crash_at` or `stop_at`, the name of a point."""
        return self._start("runner", ["tests.chaos.child", "runagents"], self._chaos(chaos))

    def start_web(self, number: int, **chaos: str) -> Program:
        env = {**self._chaos(chaos), "HOST": "127.0.0.1", "PORT": str(self.ports[number])}
        return self._start("web", ["tests.chaos.child", "runweb"], env)

    def start_folder(self, **chaos: str) -> Program:
        return self._start("folder", ["tests.chaos.child", "fold"], self._chaos(chaos))

    async def serving(self, port: int) -> None:
        """Wait until a web process takes connections."""

        async def attempt() -> bool:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return False
            writer.close()
            return True

        await until(attempt, seconds=START_SECONDS, what=f"a web process on port {port}")

    async def supervise(self) -> None:
        """Start again what could not start while PostgreSQL was away, as the product's supervisor does."""
        while True:
            for number, program in enumerate(self.runners):
                if self.failed_to_start(program):
                    self.runners[number] = self.start_runner()
            await asyncio.sleep(SUPERVISED_SECONDS)

    def failed_to_start(self, program: Program) -> bool:
        """Whether a runner ended by itself before it could register; that is none of the findings."""
        if program.alive or program.ended_by_us or program.started:
            return False
        program.ended_by_us = True
        self.restarts += 1
        return True

    async def started_runner(self, **chaos: str) -> Program:
        """A runner that has registered. Raises `NotSeen`."""
        program = self.start_runner(**chaos)

        def look() -> bool:
            nonlocal program
            if self.failed_to_start(program):
                program = self.start_runner(**chaos)
            return program.started

        await until(look, seconds=START_SECONDS, what=f"the start of {program.name}")
        return program

    def died_on_their_own(self) -> list[str]:
        """Programs that ended though nobody asked them to."""
        return [
            f"{program.name} ended with {program.exit_code} (see {program.log})"
            for program in self._programs
            if not program.alive and not program.ended_by_us
        ]

    async def provider_faults(self) -> int:
        """How many answers of the provider had a fault by chance."""
        async with aiohttp.ClientSession() as session, session.get(self._provider_url + "/_requests") as response:
            return int((await response.json())["faults"])

    def logs(self) -> list[Path]:
        return sorted((self.folder / "logs").iterdir())

    def _chaos(self, chaos: Mapping[str, str]) -> dict[str, str]:
        names = {"crash_at": child.CRASH_AT, "stop_at": child.STOP_AT}
        return {child.DEFECT: self.plan.defect, **{names[key]: value for key, value in chaos.items()}}

    def _start(self, kind: str, arguments: list[str], env: Mapping[str, str]) -> Program:
        self._count += 1
        name = f"{kind}-{self._count}"
        log = self.folder / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        program = Program(name, arguments, env={**self._env, child.HITS: str(self.hits), **env}, log=log)
        self._programs.append(program)
        return program

    async def _start_provider(self) -> str:
        provider = self._start("provider", ["tests.chaos.child", "provider", "--kept", "1"], {})
        return await until(
            lambda: provider.log.read_text(encoding="utf-8").strip(), seconds=START_SECONDS, what="the provider"
        )

    async def _make_durable(self) -> None:
        """One commit that waits for the disk takes all before it along, whatever the pass has set."""
        await self.database.rows("SELECT set_config('synchronous_commit', 'on', false)")
        await self.database.rows("SELECT pg_logical_emit_message(true, 'chaos', 'began')")

    def _make_database(self) -> str:
        base = self._cluster.start()
        # Each pass has its own, and leaves it behind for whoever wants to know more.
        name = f"chaos_{self.folder.name.replace('-', '_')}"
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{self._template}"'.encode())
        return urlunsplit(urlsplit(base)._replace(path=f"/{name}"))

    def _seed(self) -> list[dict[str, str]]:
        env = {**self._env, "CHAOS_SESSIONS": str(self.plan.sessions)}
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos.child", "seed"],
            cwd=ROOT, env=env, check=False, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise RuntimeError(f"the pass could not be prepared: {done.stderr}")
        found: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
        return found


def _environment(url: str, data: Path, *, flaky: int) -> dict[str, str]:
    """What the children see: nothing of a developer's own settings."""
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE") if name in os.environ
    }
    return {
        **kept,
        "PYTHONPATH": PYTHON_PATH,
        "BANDSTAND_ENV_FILE": os.devnull,
        "BANDSTAND_DATA_DIR": str(data),
        "DATABASE_URL": url,
        "SECRET_KEY": os.environ["SECRET_KEY"],
        "BANDSTAND_KEY_PEPPER": os.environ["BANDSTAND_KEY_PEPPER"],
        "BANDSTAND_ENCRYPTION_KEY": os.environ["BANDSTAND_ENCRYPTION_KEY"],
        "BANDSTAND_MODEL": f"openai:fake.flaky-{flaky},openai:fake" if flaky else "openai:fake",
        "OPENAI_API_KEY": "sk-chaos",
        "BANDSTAND_EMBEDDINGS": "fake",
        "BANDSTAND_LEASE_SECONDS": str(LEASE_SECONDS),
        "BANDSTAND_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "BANDSTAND_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "BANDSTAND_RUNNING_TURNS_PER_USER": "100",
        "BANDSTAND_RUNNER_CONCURRENCY": "8",
        "BANDSTAND_REQUESTS_PER_MINUTE": "1000000",
        "BANDSTAND_MESSAGES_PER_MINUTE": "1000000",
        "BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE": "1000000",
        "BANDSTAND_CONNECTIONS_PER_USER": "10000",
        "BANDSTAND_CONNECTIONS_PER_KEY": "10000",
        "BANDSTAND_LOG_FORMAT": "json",
        "LOG_LEVEL": "INFO",
    }
