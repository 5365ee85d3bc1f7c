"""A whole installation in processes of its own, on a database of its own: web, runner, the offline model, people."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import psycopg
from psycopg import sql

from tests.chaos.program import Program
from tests.support import database
from tests.support.surroundings import PYTHON_PATH, ROOT, database_url, free_port

START_SECONDS = 60.0
SEED = "from tests.support.deployment import seed; seed()"
# Tests ask more often than people.
UNLIMITED = dict.fromkeys(
    (
        "BANDSTAND_REQUESTS_PER_MINUTE",
        "BANDSTAND_MESSAGES_PER_MINUTE",
        "BANDSTAND_MESSAGES_PER_SESSION_PER_MINUTE",
        "BANDSTAND_BAD_KEYS_PER_MINUTE",
    ),
    "0",
)


class Deployment:
    """What runs, and the keys of its people: `ada`, `eve` and `grace` chat; `reader` is a key of Ada's that may only
    read."""

    def __init__(self, url: str, keys: dict[str, str]) -> None:
        self.url = url
        self.keys = keys


@contextmanager
def deployment(folder: Path) -> Iterator[Deployment]:
    """Start everything; it is gone afterwards. Nothing outlives this process."""
    with _database() as url:
        port = free_port()
        env = _environment(url, folder, port)
        keys = _seeded(env)
        programs = [
            Program(name, ["tests.chaos.child", command], env=env, log=folder / f"{name}.log")
            for name, command in (("web", "runweb"), ("runner", "runagents"))
        ]
        try:
            _wait(f"http://127.0.0.1:{port}/health", programs)
            yield Deployment(f"http://127.0.0.1:{port}", keys)
            dead = [program.name for program in programs if not program.alive]
            assert not dead, f"{dead} did not live to the end (see {folder})"
        finally:
            for program in programs:
                program.kill()


def seed() -> None:
    """Make the people and print their keys; run in a process of the deployment."""
    from accounts.actor import Scope
    from accounts.roles import Role
    from tests.support.people import agent, key_of, person

    agent(tools=["calculator", "clock"])
    people = {name: person(name, Role.USER) for name in ("ada", "eve", "grace")}
    keys = {name: key_of(user, {Scope.READ, Scope.CHAT}) for name, user in people.items()}
    print(json.dumps({**keys, "reader": key_of(people["ada"], {Scope.READ})}))


def _seeded(env: dict[str, str]) -> dict[str, str]:
    command = [sys.executable, "manage.py", "shell", "--verbosity=0", "-c", SEED]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    keys: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return keys


@contextmanager
def _database() -> Iterator[str]:
    """The address of a new database with all migrations."""
    base = os.environ["DATABASE_URL"]
    template = database.template() or database.make_template(base)
    name = f"deployment_{os.getpid()}_{time.monotonic_ns()}"
    with psycopg.connect(base, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        try:
            yield database_url(name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _environment(url: str, folder: Path, port: int) -> dict[str, str]:
    kept = {
        name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG", "SSL_CERT_FILE") if name in os.environ
    }
    keys = {name: os.environ[name] for name in ("SECRET_KEY", "BANDSTAND_KEY_PEPPER", "BANDSTAND_ENCRYPTION_KEY")}
    return {
        **kept,
        **keys,
        **UNLIMITED,
        "PYTHONPATH": PYTHON_PATH,
        "BANDSTAND_ENV_FILE": os.devnull,
        "BANDSTAND_DATA_DIR": str(folder),
        "DATABASE_URL": url,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "BANDSTAND_LOG_FORMAT": "json",
    }


def _wait(url: str, programs: list[Program]) -> None:
    opener, give_up_at = build_opener(ProxyHandler({})), time.monotonic() + START_SECONDS
    while True:
        try:
            opener.open(url, timeout=5).close()
            return
        except (URLError, OSError):
            ended = [program.log.read_text() for program in programs if not program.alive]
            assert not ended, ended
            assert time.monotonic() < give_up_at, [program.log.read_text() for program in programs]
            time.sleep(0.05)
