"""The readiness of the installation and of one process, and their failing parts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from foundation.clock import now
from health_checks.check import Check, Level, Reader
from health_checks.registry import registry
from health_checks.run import FAULT_LABELS, CheckResult, Fault, run_checks

# Less than the timeout of probes (`bandstand.health`).
CHECK_SECONDS: Final = 3.6
# What a process needs to answer, whatever runs or does not run beside it.
PROCESS_CHECKS: Final = ("database", "migrations")


@dataclass(frozen=True, slots=True)
class FailingPart:
    """A part that does not work, and the reason, which is public."""

    part: str
    detail: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """The parts that fail, and those with which something is the matter although they work."""

    failing: list[FailingPart]
    degraded: list[FailingPart]


def failing_parts() -> list[FailingPart]:
    """The failing parts, by the names of their checks; first "database" if a check failed with a database error."""
    return read_readiness().failing


def read_readiness() -> Readiness:
    """The parts that fail, as `failing_parts`, and those that are degraded."""
    return _run(registry.for_reader(Reader.READY))


def read_process_readiness() -> Readiness:
    """The parts among `PROCESS_CHECKS` that fail, for the readiness of this process alone."""
    return _run([registry[name] for name in PROCESS_CHECKS])


def _run(checks: Iterable[Check[Any]]) -> Readiness:
    results = run_checks(checks, now=now(), seconds=CHECK_SECONDS)
    failing = [part for result in results for part in _failing(result)]
    if any(result.fault is Fault.FAILED and _is_database_error(result.error) for result in results):
        failing.insert(0, FailingPart("database", "does not answer as it should"))
    return Readiness(failing, [part for result in results for part in _degraded(result)])


def _degraded(result: CheckResult) -> Iterator[FailingPart]:
    for finding in result.findings:
        if finding.level is Level.WARN:
            yield FailingPart(result.check.name, finding.message)


def _failing(result: CheckResult) -> Iterator[FailingPart]:
    """Bad findings and failed checks; skipped checks are left out."""
    if result.fault and result.fault is not Fault.SKIPPED:
        yield FailingPart(result.check.name, FAULT_LABELS[result.fault])
    for finding in result.findings:
        if finding.level is Level.BAD:
            yield FailingPart(result.check.name, finding.message)


def _is_database_error(error: Exception | None) -> bool:
    return isinstance(error, (DatabaseError, InterfaceError))


@cache
def schema() -> dict[str, str]:
    """The newest migration of each app in this code."""
    loader = MigrationLoader(None, ignore_no_migrations=True)
    return dict(sorted(loader.graph.leaf_nodes()))


def missing_migrations() -> list[str]:
    """Apps whose newest migration is not applied to the database."""
    applied = MigrationRecorder(connection).applied_migrations()
    return [app for app, name in schema().items() if (app, name) not in applied]
