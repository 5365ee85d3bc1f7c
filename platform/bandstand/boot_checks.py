"""Checks of the database that `prepare` and every web, runner and scheduler process make before they start."""

import time
from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import scalar_row

MIN_POSTGRESQL: Final = 160000
MIN_PGVECTOR: Final = (0, 8)
# With one of these off, an acknowledged message can be lost by a crash.
DURABILITY: Final = ("fsync", "full_page_writes", "synchronous_commit")

POOLER: Final = (
    "a connection pooler in front of PostgreSQL drops what a connection asks for at its start; LISTEN and prepared "
    "statements would not work either: give the server's own address"
)
# Before the first release, accounts were tables of `agents`; no migration leads from that layout to this one.
OLD_LAYOUT: Final = (
    "this database was made by an unreleased Bandstand with another layout of tables, which cannot be migrated: "
    "give DATABASE_URL an empty database, or delete this installation's data directory (BANDSTAND_DATA_DIR) and begin "
    "anew"
)
# Set as a startup parameter; reading it back shows whether startup parameters reach the server.
MARK: Final = "54321ms"

Connection = psycopg.Connection[Any]


def find_faults(url: str, *, migrating: bool = False, wait_seconds: float = 0.0) -> list[str]:
    """Return one printable line per problem of the database at `url`, without secrets.

    `migrating` also checks the privileges that migrations need. A server that is starting gets `wait_seconds`.
    """
    try:
        connection = _connect(url, wait_seconds)
    except (psycopg.Error, UnicodeError, ValueError) as error:
        reason = describe_connection_error(error)
        hint = f" ({POOLER})" if "startup parameter" in reason else ""
        return [f"DATABASE_URL: cannot connect to the database: {reason}{hint}"]
    with connection:
        try:
            return list(find_connection_faults(connection, migrating=migrating))
        except psycopg.Error as error:
            return [f"DATABASE_URL: the database cannot be checked: {describe_connection_error(error)}"]


def _connect(url: str, wait_seconds: float) -> Connection:
    deadline = time.monotonic() + wait_seconds
    options = f"{conninfo_to_dict(url).get('options') or ''} -c lock_timeout={MARK}"
    name = "bandstand-checks"
    while True:
        try:
            return psycopg.connect(url, autocommit=True, connect_timeout=5, application_name=name, options=options)
        except psycopg.OperationalError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.2)


def find_connection_faults(connection: Connection, *, migrating: bool) -> Iterator[str]:
    """One printable line per thing that is wrong with the database of `connection`, which is in autocommit and has
    asked for `lock_timeout=MARK` at its start. Raises `psycopg.Error`."""
    if connection.info.server_version < MIN_POSTGRESQL:
        version = connection.info.parameter_status("server_version")
        yield f"PostgreSQL {version} is too old: Bandstand needs version 16 or newer"
        return
    for name in DURABILITY:
        if _value(connection, f"SHOW {name}") == "off":
            yield f"PostgreSQL runs with {name}=off, which loses acknowledged messages in a crash: set {name}=on"
    if (encoding := _value(connection, "SHOW server_encoding")) != "UTF8":
        yield (
            f"the database's encoding is {encoding}, which cannot hold every text: make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if _value(connection, "SHOW lock_timeout") != MARK:
        yield f"DATABASE_URL: {POOLER}"
    if migrating:
        yield from _missing_rights(connection)
        if _value(connection, "SELECT to_regclass('agents_user')") is not None:
            yield OLD_LAYOUT
    yield from _pgvector(connection, migrating)


def _missing_rights(connection: Connection) -> Iterator[str]:
    schema = _value(connection, "SELECT current_schema()")
    if schema is None:
        yield "the database has no schema on the role's search_path: CREATE SCHEMA public"
    elif not _value(connection, "SELECT has_schema_privilege(current_schema(), 'CREATE')"):
        role = connection.info.user
        yield f"role {role!r} may not create tables: GRANT CREATE ON SCHEMA {schema} TO {role}"


def _pgvector(connection: Connection, migrating: bool) -> Iterator[str]:
    version = _value(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
    if version is None and migrating:
        version = _value(connection, "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
        if version is not None and not _may_install(connection):
            yield "pgvector is not installed in the database: CREATE EXTENSION vector, as a role that may"
            return
    if version is None:
        yield "pgvector is missing: install it (version 0.8 or newer) on the PostgreSQL server"
    elif tuple(int(part) for part in version.split(".")[:2]) < MIN_PGVECTOR:
        yield f"pgvector {version} is too old: Bandstand needs version 0.8 or newer (ALTER EXTENSION vector UPDATE)"


def _may_install(connection: Connection) -> bool:
    # Hosting providers have rules of their own for this; only an attempt shows it.
    try:
        with connection.transaction(force_rollback=True):
            connection.execute("CREATE EXTENSION vector")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


def _value(connection: Connection, query: str) -> Any:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return cursor.execute(query).fetchone()


def describe_connection_error(error: Exception) -> str:
    """The reason in one line, without an address or a password."""
    lines = (str(error).strip() or type(error).__name__).split("\n")
    # libpq adds hints to its message, and one line per address of a host name.
    reasons = [line for line in lines if "failed: " in line] or lines
    return reasons[0].rpartition("failed: ")[2].strip()
