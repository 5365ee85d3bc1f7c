"""A PostgreSQL for the tests, ready before Django reads its settings.

With DATABASE_URL set the tests use that server (any PostgreSQL of version 16 or later with pgvector, and a role that
may create databases). Otherwise the first process of a run starts an embedded cluster below `.cache/`, hands its
address to the other processes through the environment, and stops it at the end. Runs side by side take different
clusters.

A migrated database is kept as a template, so that a worker's own database is a copy and takes no migrations.
"""

import atexit
import base64
import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from bandstand.embedded import Cluster
from tests.support.surroundings import ROOT, environment

SLOTS = 16
# What `manage.py prepare` does after the migrations.
SYNC_ROLES = "from accounts.roles import sync_roles; sync_roles()"


def provide() -> None:
    """Put DATABASE_URL, keys and the role of a web process into the environment; later processes inherit them."""
    if os.environ.get("TEST_RUN_PREPARED"):
        return
    set_environment()
    if not os.environ.get("DATABASE_URL"):
        os.environ["DATABASE_URL"] = _start_cluster(int(os.environ.get("PG") or 18))
        os.environ["TEST_TEMPLATE"] = make_template(os.environ["DATABASE_URL"])
    os.environ["TEST_RUN_PREPARED"] = "1"


def set_environment() -> None:
    """Everything that the product wants to be told, but for the database."""
    os.environ["BANDSTAND_ENV_FILE"] = os.devnull  # a developer's own settings are none of the tests' business
    os.environ["BANDSTAND_ROLE"] = "web"
    # Tests speak TLS with nobody, and each client of an HTTP library reads all authorities: 25 ms for 140 of them.
    os.environ["SSL_CERT_FILE"] = str(Path(__file__).with_name("authority.pem"))
    os.environ["BANDSTAND_EMBEDDINGS"] = "fake"
    os.environ["SECRET_KEY"] = "tests-" + "0123456789abcdef" * 4
    os.environ["BANDSTAND_KEY_PEPPER"] = "tests-" + "fedcba9876543210" * 4
    os.environ["BANDSTAND_ENCRYPTION_KEY"] = base64.urlsafe_b64encode(b"tests only: 32 bytes of nothing!").decode()


def template() -> str | None:
    """The database that a worker's database is copied from, if there is one."""
    return os.environ.get("TEST_TEMPLATE")


def _start_cluster(version: int) -> str:
    # Workers share it, and tests of races open a connection for each of those who race.
    place = take_slot(ROOT / ".cache" / f"postgres-{version}")
    cluster = Cluster(place, version, settings={"max_connections": "200"})
    url = cluster.start()
    atexit.register(cluster.stop)
    return url


def take_slot(folder: Path) -> Path:
    """The first folder below `folder` that no other run uses; it is ours until this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(SLOTS):
        lock = os.open(folder / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held until this process ends
        except BlockingIOError:
            os.close(lock)
            continue
        return folder / str(number)
    raise SystemExit(f"{SLOTS} test runs are using {folder} already")


def make_template(url: str) -> str:
    """A database with all migrations applied; made anew when a migration changed. Only one process comes here."""
    name = f"template_{_migrations_digest()}"
    with psycopg.connect(url, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'template\\_%' OR datname = 'draft'"
        )
        found = {row[0] for row in rows}
        if name in found:
            return name
        for old in found:
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(old)))
        connection.execute("CREATE DATABASE draft")
        address = environment(DATABASE_URL=urlunsplit(urlsplit(url)._replace(path="/draft")))
        for command in (("migrate", "--verbosity=0"), ("shell", "--no-imports", "-c", SYNC_ROLES)):
            subprocess.run([sys.executable, ROOT / "manage.py", *command], env=address, check=True)
        connection.execute(sql.SQL("ALTER DATABASE draft RENAME TO {}").format(sql.Identifier(name)))
    return name


def _migrations_digest() -> str:
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes())
    declared = ("*/migrations/*.py", "*/*/migrations/*.py", "*/*/role_permissions.py", "*/accounts/roles.py")
    for path in sorted(path for pattern in declared for path in ROOT.glob(pattern)):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
