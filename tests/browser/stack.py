"""A web process and a runner on a database of their own: what the browser talks to."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from tests.chaos.program import Program
from tests.support.database import template
from tests.support.surroundings import ROOT, database_url, environment, free_port

START_SECONDS = 60.0
LOOK_SECONDS = 0.03


class Stack:
    """Use it as a context. `base` is the address of the pages; `people` says who may log in and what was seeded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"browser_{os.getpid()}"
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        # Where a test may start a provider for the models of `openai:`.
        self.provider_port = free_port()
        self._server = os.environ["DATABASE_URL"]
        self._env = environment(
            DATABASE_URL=database_url(self.name),
            BANDSTAND_DATA_DIR=str(folder),
            HOST="127.0.0.1",
            PORT=str(self.port),
            BANDSTAND_LEASE_SECONDS="6",
            BANDSTAND_HEARTBEAT_SECONDS="2",
            BANDSTAND_RUNNING_TURNS_PER_USER="100",
            OPENAI_BASE_URL=f"http://127.0.0.1:{self.provider_port}/v1",
        )
        self.seeded: dict[str, Any] = {}
        self._sown: set[str] = set()
        self._numbers = count(1)
        self._operator: subprocess.Popen[str] | None = None
        self.web: Program
        self.runner: Program

    def __enter__(self) -> Self:
        self._make_database()
        self.web, self.runner = self._new_web(), self._new_runner()
        self.seed("tests.browser.seed")  # while they start
        self._wait()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.web.kill()
        self.runner.kill()
        if self._operator is not None:
            self._operator.kill()
            self._operator.communicate()
        self._drop_database()

    def seed(self, *modules: str) -> None:
        """Add rows, once: each module's `main` makes some, and `seeded` says which."""
        new = [module for module in modules if module not in self._sown]
        if not new:
            return
        made = json.loads(self._run("tests.browser.seeding", *new).splitlines()[-1])
        people = {**self.seeded.get("people", {}), **made["people"]}
        self.seeded = {**self.seeded, **made, "people": people}
        self._sown.update(new)

    def operate(self, verb: str, session: str = "", **options: Any) -> None:
        """Let dora do what an operator does: see `tests.browser.operator_seat`."""
        if self._operator is None:
            command = [sys.executable, "-m", "tests.browser.operator_seat", "dora"]
            pipe = subprocess.PIPE
            self._operator = subprocess.Popen(command, cwd=ROOT, env=self._env, stdin=pipe, stdout=pipe, text=True)
            self._hear(self._operator, "ready")
        assert self._operator.stdin is not None
        print(json.dumps({"verb": verb, "session": session, **options}), file=self._operator.stdin, flush=True)
        self._hear(self._operator, "done")

    @staticmethod
    def _hear(operator: subprocess.Popen[str], word: str) -> None:
        assert operator.stdout is not None
        for line in operator.stdout:
            if line.startswith("{") and word in json.loads(line):
                return
        raise RuntimeError("the operator has left")

    def start_web(self) -> None:
        """Start the web process; returns when it serves the login page."""
        self.web = self._new_web()
        self._wait()

    def start_runner(self) -> None:
        """Start the runner; returns when it has registered."""
        self.runner = self._new_runner()
        self._wait()

    def _new_web(self) -> Program:
        return self._new("web", "runweb")

    def _new_runner(self) -> Program:
        return self._new("runner", "runagents")

    def _new(self, name: str, command: str) -> Program:
        # A log of its own: a runner is there when it says so in it.
        log = self.folder / f"{name}-{next(self._numbers)}.log"
        return Program(name, ["tests.chaos.child", command], env=self._env, log=log)

    def _wait(self) -> None:
        _wait_for(lambda: self.runner.started, "the runner", self.runner)
        _wait_for(self._serves, "the web process", self.web)

    def _serves(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/login/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _run(self, *arguments: str) -> str:
        command = [sys.executable, "-m", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self._env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(arguments)} failed: {done.stderr[-3000:]}")
        return done.stdout

    def _make_database(self) -> None:
        self._drop_database()
        made = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.name))
        if (copied := template()) is not None:
            made += sql.SQL(" TEMPLATE {}").format(sql.Identifier(copied))
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(made)
        if copied is None:
            subprocess.run([sys.executable, ROOT / "manage.py", "migrate", "--verbosity=0"], env=self._env, check=True)

    def _drop_database(self) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(self.name)))


def _wait_for(look: Callable[[], bool], what: str, program: Program) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not look():
        if not program.alive or time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not start: {program.log.read_text()[-3000:]}")
        time.sleep(LOOK_SECONDS)
