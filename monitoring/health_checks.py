"""Checks of the database, and of the environment that every process starts in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, connection

from health_checks.check import Check, Finding, Level, Reader
from health_checks.run import Measurements
from monitoring.readiness import missing_migrations
from monitoring.start_files import package_folders, unknown_start_files

MIN_PGVECTOR: Final = (0, 8)


def database_answers(measurements: Measurements) -> bool:  # noqa: ARG001
    """Whether a connection can be established."""
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError):
        return False
    return True


def unapplied_migrations(measurements: Measurements) -> list[str]:  # noqa: ARG001
    """Apps with unapplied migrations."""
    return missing_migrations()


def pgvector_version(measurements: Measurements) -> tuple[int, ...] | None:  # noqa: ARG001
    """Major and minor version; None where it is not installed."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        row = cursor.fetchone()
    return None if row is None else tuple(int(part) for part in row[0].split(".")[:2])


def start_files(measurements: Measurements) -> list[str]:  # noqa: ARG001
    """The paths of files that Python runs at every start and that no installed package answers for."""
    return unknown_start_files(package_folders())


def evaluate_database(answers: bool) -> Sequence[Finding]:
    return [] if answers else [Finding(Level.BAD, "cannot be reached")]


def evaluate_migrations(apps: Sequence[str]) -> Sequence[Finding]:
    return [Finding(Level.BAD, f"not applied: {', '.join(apps)}")] if apps else []


def evaluate_pgvector(version: tuple[int, ...] | None) -> Sequence[Finding]:
    if version is None:
        return [Finding(Level.BAD, "not installed")]
    return [Finding(Level.BAD, "older than 0.8")] if version < MIN_PGVECTOR else []


def evaluate_start_files(paths: Sequence[str]) -> Sequence[Finding]:
    return [
        Finding(Level.WARN, f"Python runs {path} at every start, and no installed package has it") for path in paths
    ]


_READY: Final = frozenset({Reader.READY})

CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="database",
        title="Database",
        measure=database_answers,
        evaluator=evaluate_database,
        alarms_when="PostgreSQL cannot be reached",
        remedy="Start PostgreSQL, or see that DATABASE_URL leads to it.",
        readers=_READY,
        order=10,
        prerequisite=True,
    ),
    Check(
        name="migrations",
        title="Migrations",
        measure=unapplied_migrations,
        evaluator=evaluate_migrations,
        alarms_when="the code is newer than the tables",
        remedy="Run manage.py prepare with this version of the code.",
        readers=_READY,
        order=20,
        prerequisite=True,
    ),
    Check(
        name="pgvector",
        title="pgvector",
        measure=pgvector_version,
        evaluator=evaluate_pgvector,
        alarms_when="the extension is missing or older than 0.8",
        remedy="Install pgvector 0.8 or newer on the server; then CREATE EXTENSION vector, or ALTER EXTENSION vector "
        "UPDATE.",
        readers=_READY,
        order=30,
    ),
    Check(
        name="start_files",
        title="Environment",
        measure=start_files,
        evaluator=evaluate_start_files,
        alarms_when="a .pth file, sitecustomize or usercustomize that no installed package has, or has otherwise",
        remedy="Find out who put it there; delete it, or make the environment anew from the lock file.",
        readers=frozenset({Reader.OVERVIEW}),
        order=160,
        permissions=("accounts.view_user",),
    ),
)
