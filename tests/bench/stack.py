"""The processes that are measured: an embedded PostgreSQL as `make run` has it, a model provider, one web process, one
runner. They end with the bench, however it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

import psycopg

from bandstand.embedded import Cluster
from tests.bench import child
from tests.support.surroundings import free_port

ROOT = child.ROOT
FOLDER = ROOT / ".cache" / "bench"
DATABASE = "bench"
START_SECONDS = 30.0

T = TypeVar("T")

# What differs from a default installation, and stands in the report: one user's limit would bound the whole bench.
LIMITS = {
    "BANDSTAND_RUNNING_TURNS_PER_USER": "1000",
    "BANDSTAND_RUNNER_CONCURRENCY": "128",
    "BANDSTAND_REQUESTS_PER_MINUTE": "1000000",
    "BANDSTAND_MESSAGES_PER_MINUTE": "1000000",
    "BANDSTAND_CONNECTIONS_PER_USER": "10000",
    "BANDSTAND_CONNECTIONS_PER_KEY": "10000",
}


class Stack:
    """Use it as a context. `url` is the database's address, `base` that of the web process."""

    url: str
    base: str

    def __init__(self, profile: str = "", limits: Mapping[str, str] = LIMITS) -> None:
        """`profile` names the process that is profiled: web or runner. `limits` are the settings that differ from an
        installation's."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(FOLDER / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit("bench: another bench runs in this folder; two would only measure each other") from None
        self.profile = profile
        self.profile_file = FOLDER / "profile.pstats"
        self.profile_file.unlink(missing_ok=True)
        self._cluster = Cluster(FOLDER / "data")
        self._limits = limits
        self._programs: dict[str, subprocess.Popen[bytes]] = {}
        self._env: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        pid = self._cluster.pid
        assert pid is not None
        return {"postgresql": pid, **{name: program.pid for name, program in self._programs.items()}}

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's programs."""
        return self._cluster.programs

    def seed(self, wanted: Sequence[tuple[str, int, int]]) -> list[list[tuple[str, str]]]:
        """For each (route, sessions, history) that many (session, key). Called once."""
        done = self._run("seed", given=json.dumps(wanted))
        found: list[list[tuple[str, str]]] = json.loads(done.splitlines()[-1])
        return found

    def start_attack(self, orders: str) -> subprocess.Popen[bytes]:
        """Attackers' clients, at the lowest priority; they print a line when they begin, and one of JSON when
        they are done."""
        attack = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.child", "attack"],
            cwd=ROOT, env=self._env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert attack.stdin is not None
        attack.stdin.write(orders.encode())
        attack.stdin.close()
        return attack

    def end(self, name: str) -> None:
        """Ask one process to end, and wait until it has."""
        program = self._programs.pop(name)
        program.terminate()
        program.wait(30)

    def stop(self) -> None:
        for program in self._programs.values():
            program.kill()
            program.wait()
        self._cluster.stop()

    def _start(self) -> None:
        self.url = self._new_database(self._cluster.start())
        self._env = {**_environment(self.url), **self._limits}
        self._run("migrate", "--verbosity=0")
        self._env["OPENAI_BASE_URL"] = self._start_provider()
        port = free_port()
        self.base = f"http://127.0.0.1:{port}"
        self._program("runner", "runagents", {})
        self._program("web", "runweb", {"HOST": "127.0.0.1", "PORT": str(port)})
        self._until(lambda: _accepts(port), "the web process")

    def _new_database(self, base: str) -> str:
        with psycopg.connect(base, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)".encode())
            connection.execute(f"CREATE DATABASE {DATABASE}".encode())
        return urlunsplit(urlsplit(base)._replace(path=f"/{DATABASE}"))

    def _start_provider(self) -> str:
        log = self._program("provider", "provider", {}, "--kept", "1")
        return self._until(lambda: log.read_text(encoding="utf-8").strip(), "the provider")

    def _program(self, name: str, command: str, env: Mapping[str, str], *arguments: str) -> Path:
        log = FOLDER / f"{name}.log"
        profile = {child.PROFILE: str(self.profile_file)} if name == self.profile else {}
        with log.open("wb") as output:
            self._programs[name] = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.child", command, *arguments],
                cwd=ROOT,
                env={**self._env, **profile, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return log

    def _run(self, command: str, *arguments: str, given: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.child", command, *arguments],
            cwd=ROOT, env=self._env, input=given, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"bench: {command} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def _until(self, look: Callable[[], T], what: str) -> T:
        deadline = time.monotonic() + START_SECONDS
        while not (seen := look()):
            for name, program in self._programs.items():
                if program.poll() is not None:
                    raise SystemExit(f"bench: {name} ended: {(FOLDER / f'{name}.log').read_text()[-2000:]}")
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: {what} did not start within {START_SECONDS:.0f} s")
            time.sleep(0.02)
        return seen


def _environment(url: str) -> dict[str, str]:
    """What the children see: nothing of a developer's own settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
        "BANDSTAND_ENV_FILE": os.devnull,
        "BANDSTAND_DATA_DIR": str(FOLDER / "data"),
        "DATABASE_URL": url,
        "SECRET_KEY": "bench-" + "0123456789abcdef" * 4,
        "BANDSTAND_KEY_PEPPER": "bench-" + "fedcba9876543210" * 4,
        "BANDSTAND_ENCRYPTION_KEY": "YmVuY2ggb25seTogMzIgYnl0ZXMgb2Ygbm90aGluZyE=",
        "OPENAI_API_KEY": "sk-bench",
        "BANDSTAND_LOG_FORMAT": "json",
    }


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
