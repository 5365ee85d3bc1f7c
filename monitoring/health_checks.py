"""Checks of the database, of the environment that every process starts in, and of what the installation bears."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, connection

from agents.models import IN_PRODUCTION, Turn
from console.formatting import NOTHING, format_seconds
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements
from monitoring.figures import Histogram, read_turn_figures
from monitoring.gauges import BAD_MEMORY_PERCENT, WARN_MEMORY_PERCENT, HostMemory, read_host_memory
from monitoring.periods import sum_histograms
from monitoring.readiness import missing_migrations
from monitoring.start_files import package_folders, unknown_start_files

MIN_PGVECTOR: Final = (0, 8)
# Of the 95th percentile of response times.
SLOW_SECONDS: Final = 30


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


def memory_of_hosts(measurements: Measurements) -> list[HostMemory]:
    """The memory of this host as it is now, and of others as they last said, the fullest first. One statement."""
    return read_host_memory(measurements.now)


def evaluate_memory(hosts: Sequence[HostMemory]) -> Sequence[Finding]:
    if not hosts:
        return [Finding(Level.GOOD, "this system does not say", NOTHING)]
    fullest = hosts[0]
    level = (
        Level.BAD
        if fullest.percent > BAD_MEMORY_PERCENT
        else Level.WARN
        if fullest.percent > WARN_MEMORY_PERCENT
        else Level.GOOD
    )
    return [Finding(level, fullest.label, f"{fullest.percent:.0f} %", percent=fullest.percent)]


def active_sessions(measurements: Measurements) -> int:  # noqa: ARG001
    """Sessions of production with a turn that has not ended. One index scan over such turns."""
    return Turn.objects.filter(IN_PRODUCTION, finished_at=None).values("agent_session_id").distinct().count()


def evaluate_sessions(sessions: int) -> Sequence[Finding]:
    return [Finding(Level.GOOD, "wait for an answer or get one", f"{sessions:,}")]


def past_hour_seconds(measurements: Measurements) -> Histogram:
    """How long the turns took that ended in the past hour."""
    at = measurements.now
    return sum_histograms(row.seconds for row in read_turn_figures(at - timedelta(hours=1), at))


def evaluate_seconds(seconds: Histogram) -> Sequence[Finding]:
    p95 = seconds.quantile(0.95)
    if p95 is None or p95 <= SLOW_SECONDS:
        return []
    return [Finding(Level.WARN, f"Answers are slow: 5 % of the past hour's took longer than {format_seconds(p95)}")]


_READY: Final = frozenset({Reader.READY})
_OVERVIEW: Final = frozenset({Reader.OVERVIEW})

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
        readers=_OVERVIEW,
        order=160,
        link=Link("admin:guide"),
        permissions=("accounts.view_user",),
    ),
    Check(
        name="response_time",
        title="Response time",
        measure=past_hour_seconds,
        evaluator=evaluate_seconds,
        alarms_when=f"5 % of the past hour's turns took longer than {SLOW_SECONDS} s",
        remedy="Is it the queue (start runners), one route (its page), or one agent? Patterns shows which.",
        readers=_OVERVIEW,
        order=105,
        link=Link("admin:patterns", query={"range": "1h"}),
        permissions=("agents.view_turn",),
    ),
    Check(
        name="active_sessions",
        title="Active sessions",
        measure=active_sessions,
        evaluator=evaluate_sessions,
        alarms_when="never",
        remedy="",
        readers=_OVERVIEW,
        order=125,
        link=Link("admin:agents_agentsession_changelist", query={"state": "open", "purpose": "production"}),
        permissions=("agents.view_agentsession",),
        is_metric=True,
    ),
    Check(
        name="memory",
        title="Memory",
        measure=memory_of_hosts,
        evaluator=evaluate_memory,
        alarms_when=f"more than {WARN_MEMORY_PERCENT} % of the container's limit, else of the machine's memory, is in "
        f"use; red above {BAD_MEMORY_PERCENT} %",
        remedy="See which process takes it; give the machine more, or start runners with less room "
        "(BANDSTAND_RUNNER_CONCURRENCY). At 100 % the system ends processes.",
        readers=_OVERVIEW,
        order=145,
        link=Link("admin:agents_runner_changelist"),
        permissions=("agents.view_runner",),
        is_metric=True,
    ),
)
