"""Whether this installation can do its work, and if not, which part cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from scheduling import heartbeats

MIN_PGVECTOR: Final = (0, 8)
# A runner reports itself with its leases; three missed reports are not a coincidence.
RUNNER_MISSED_BEATS: Final = 3


@dataclass(frozen=True, slots=True)
class Failing:
    """A part that does not work, and why, in words that may be shown to anybody."""

    part: str
    detail: str


def failing_parts() -> list[Failing]:
    """Every part that does not work; with the database gone nothing else can be told."""
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError):
        return [Failing("database", "cannot be reached")]
    try:
        return list(_failing())
    except (DatabaseError, InterfaceError):
        return [Failing("database", "does not answer as it should")]


@cache
def schema() -> dict[str, str]:
    """The newest migration of each app in this code."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return dict(sorted(loader.graph.leaf_nodes()))


def missing_migrations() -> list[str]:
    """Apps whose newest migration is not applied to the database."""
    applied = MigrationRecorder(connection).applied_migrations()
    return [app for app, name in schema().items() if (app, name) not in applied]


def _failing() -> Iterator[Failing]:
    if missing := missing_migrations():
        yield Failing("migrations", f"not applied: {', '.join(missing)}")
        return  # the tables that the rest reads may not be there
    version = _pgvector()
    if version is None or version < MIN_PGVECTOR:
        yield Failing("pgvector", "not installed" if version is None else "older than 0.8")
    if not _runner_is_alive():
        yield Failing("runner", "no runner has reported itself lately")
    age = heartbeats.age_seconds(heartbeats.SCHEDULER)
    if age is None or age > heartbeats.SCHEDULER_STALE_SECONDS:
        yield Failing("scheduler", "has not run a task lately")


def _pgvector() -> tuple[int, ...] | None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
    return None if row is None else tuple(int(part) for part in row[0].split(".")[:2])


def _runner_is_alive() -> bool:
    patience = RUNNER_MISSED_BEATS * settings.BANDSTAND.heartbeat_seconds
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM agents_runner WHERE status = 'running'"
            " AND heartbeat_at > clock_timestamp() - make_interval(secs => %s))",
            [patience],
        )
        return bool(cursor.fetchone()[0])
