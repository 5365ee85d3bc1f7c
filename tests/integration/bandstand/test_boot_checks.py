"""A database on which nothing may start is refused with one line that names the reason."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from bandstand import boot_checks

URL = os.environ["DATABASE_URL"]


def on(database: str, user: str | None = None, password: str = "") -> str:
    parts = urlsplit(URL)
    netloc = parts.netloc if user is None else f"{user}:{quote(password)}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


@contextmanager
def database(options: str = "") -> Iterator[str]:
    """The address of a database of its own that has nothing in it."""
    name = f"bare_{secrets.token_hex(4)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 " + options)
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(create.format(sql.Identifier(name)))
        yield on(name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def bare() -> Iterator[str]:
    with database() as url:
        yield url


def may_install() -> bool:
    with psycopg.connect(URL) as connection:
        row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        return bool(row and row[0])


def test_the_database_of_the_tests_is_good_enough() -> None:
    assert boot_checks.find_faults(URL, migrating=True) == []
    assert boot_checks.find_faults(URL) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:canary@127.0.0.1:1/x",
        "postgresql://user:canary@/x?host=/no/such/folder",
        "postgresql://user:canary@127.0.0.1:1/x?no_such_option=1",
        "postgresql://[bad",
    ],
)
def test_a_server_that_cannot_be_reached_is_one_line_without_the_password(url: str) -> None:
    (fault,) = boot_checks.find_faults(url)
    assert fault.startswith("DATABASE_URL: cannot connect to the database: ")
    assert "canary" not in fault
    assert "\n" not in fault


def test_a_pooler_that_drops_the_options_of_a_start_is_refused() -> None:
    with psycopg.connect(URL, autocommit=True) as without_options:
        (fault,) = boot_checks.find_connection_faults(without_options, migrating=False)
    assert fault.startswith("DATABASE_URL: a connection pooler")


def test_options_of_the_address_are_kept() -> None:
    spoiled = f"{URL}{'&' if '?' in URL else '?'}options=-csearch_path%3Dno_such_schema"
    faults = boot_checks.find_faults(spoiled, migrating=True)
    assert any("no schema on the role's search_path" in fault for fault in faults)


def test_a_missing_database_is_named() -> None:
    (fault,) = boot_checks.find_faults(on("no_such_database"))
    assert 'database "no_such_database" does not exist' in fault


def test_an_encoding_that_cannot_hold_every_text_is_refused() -> None:
    with database("ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'") as url:
        assert boot_checks.find_faults(url)[0].startswith(
            "the database's encoding is LATIN1, which cannot hold every text"
        )


def test_a_missing_extension_is_named(bare: str) -> None:
    (fault,) = boot_checks.find_faults(bare)
    assert fault.startswith("pgvector is missing: ")


def test_an_extension_that_the_role_may_not_install_is_named(bare: str) -> None:
    expected = [] if may_install() else ["pgvector is not installed in the database: CREATE EXTENSION vector"]
    faults = boot_checks.find_faults(bare, migrating=True)
    assert [fault.partition(", as")[0] for fault in faults] == expected


def test_looking_whether_the_extension_can_be_installed_does_not_install_it(bare: str) -> None:
    boot_checks.find_faults(bare, migrating=True)
    with psycopg.connect(bare) as connection:
        assert connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'vector'").fetchone() is None


def test_a_role_that_may_not_create_tables_is_named(bare: str) -> None:
    with psycopg.connect(bare, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA narrow")
        connection.execute("ALTER SCHEMA narrow OWNER TO pg_database_owner")
        name = urlsplit(bare).path[1:]
        connection.execute(sql.SQL("ALTER DATABASE {} SET search_path = pg_catalog").format(sql.Identifier(name)))
    faults = boot_checks.find_faults(bare, migrating=True)
    assert any("search_path" in fault or "may not create tables" in fault for fault in faults) or may_install()


class Server:
    """Answers like a server with the given settings."""

    def __init__(self, version: int = 180000, **answers: Any) -> None:
        self.info = SimpleNamespace(server_version=version, parameter_status=lambda _: str(version), user="someone")
        self.answers = {
            "SHOW fsync": "on",
            "SHOW full_page_writes": "on",
            "SHOW synchronous_commit": "on",
            "SHOW server_encoding": "UTF8",
            "SHOW lock_timeout": boot_checks.MARK,
            "current_schema()": "public",
            "has_schema_privilege": True,
            "pg_extension": "0.8.0",
            "to_regclass": None,
            **{
                name.replace("_", " ", 1) if name.startswith("SHOW") else name: value for name, value in answers.items()
            },
        }

    def cursor(self, row_factory: object) -> "Server":
        return self

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, query: str) -> "Server":
        # The longest key that occurs: has_schema_privilege(current_schema(), …) holds a shorter one.
        self.found = self.answers[max((key for key in self.answers if key in query), key=len)]
        return self

    def fetchone(self) -> Any:
        return self.found


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (Server(150004), "PostgreSQL 150004 is too old: Bandstand needs version 16"),
        (Server(SHOW_fsync="off"), "PostgreSQL runs with fsync=off"),
        (Server(SHOW_full_page_writes="off"), "PostgreSQL runs with full_page_writes=off"),
        (Server(SHOW_synchronous_commit="off"), "PostgreSQL runs with synchronous_commit=off"),
        (Server(has_schema_privilege=False), "role 'someone' may not create tables: GRANT CREATE ON SCHEMA public"),
        (Server(180000, **{"current_schema()": None, "has_schema_privilege": None}), "the database has no schema"),
        (Server(pg_extension="0.7.4"), "pgvector 0.7.4 is too old"),
    ],
)
def test_each_fault_of_a_server_is_one_line(server: Any, told: str) -> None:
    (fault,) = boot_checks.find_connection_faults(server, migrating=True)
    assert fault.startswith(told)


@pytest.mark.parametrize(
    "server", [Server(160014), Server(pg_extension="0.10.1"), Server(SHOW_synchronous_commit="local")]
)
def test_a_good_server_has_none(server: Any) -> None:
    assert list(boot_checks.find_connection_faults(server, migrating=True)) == []
