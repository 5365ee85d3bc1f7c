"""A web process and a runner on a database of their own: what the browser talks to."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from tests.chaos.program import ROOT, Program
from tests.database import template

START_SECONDS = 60.0
LOOK_SECONDS = 0.03


class Stack:
    """Use it as a context. `base` is the address of the pages; `people` says who may log in and what was seeded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"browser_{os.getpid()}"
        self.port = _free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        url = urlsplit(os.environ["DATABASE_URL"])
        self._server = urlunsplit(url)
        ours = {"BANDSTAND_ROLE", "DJANGO_SETTINGS_MODULE"}
        inherited = {name: value for name, value in os.environ.items() if name not in ours}
        self._env = {
            **inherited,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
            "DATABASE_URL": urlunsplit(url._replace(path=f"/{self.name}")),
            "BANDSTAND_DATA_DIR": str(folder),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "BANDSTAND_LEASE_SECONDS": "6",
            "BANDSTAND_HEARTBEAT_SECONDS": "2",
            "BANDSTAND_RUNNING_TURNS_PER_USER": "100",
        }
        self.seeded: dict[str, Any] = {}
        self.web: Program
        self.runner: Program

    def __enter__(self) -> Self:
        self._make_database()
        self.seeded = self.seed("tests.browser.seed")
        self.start_runner()
        self.start_web()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.web.kill()
        self.runner.kill()
        self._drop_database()

    def seed(self, module: str) -> dict[str, Any]:
        """Run a module that writes rows; what it prints at the end, as JSON."""
        found: dict[str, Any] = json.loads(self._run(module).splitlines()[-1])
        return found

    def start_web(self) -> None:
        """Start the web process; returns when it serves the login page."""
        self.web = Program("web", ["tests.chaos.child", "runweb"], env=self._env, log=self.folder / "web.log")
        _wait_for(self._serves, "the web process", self.web)

    def start_runner(self) -> None:
        """Start the runner; returns when it has registered."""
        self.runner = Program("run", ["tests.chaos.child", "runagents"], env=self._env, log=self.folder / "runner.log")
        _wait_for(lambda: self.runner.started, "the runner", self.runner)

    def _serves(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/login/")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def _run(self, module: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", module], cwd=ROOT, env=self._env, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{module} failed: {done.stderr[-3000:]}")
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
