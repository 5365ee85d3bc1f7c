"""Whether this installation can do its work, and if not, which part cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Final

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from checks.check import Level, Reader
from checks.registry import registry
from checks.run import FAULT_LABELS, CheckResult, Fault, run_checks
from foundation.clock import now

# Less than a probe waits (`bandstand.health`).
CHECK_SECONDS: Final = 3.6


@dataclass(frozen=True, slots=True)
class Failing:
    """A part that does not work, and why, in words that may be shown to anybody."""

    part: str
    detail: str


def failing_parts() -> list[Failing]:
    """Every part that does not work, by the name of its check; with the database gone nothing else can be told."""
    results = run_checks(registry.for_reader(Reader.READY), now=now(), seconds=CHECK_SECONDS)
    failing = [part for result in results for part in _failing(result)]
    if any(result.fault is Fault.FAILED and _of_the_database(result.error) for result in results):
        failing.insert(0, Failing("database", "does not answer as it should"))
    return failing


def _failing(result: CheckResult) -> Iterator[Failing]:
    """What is bad, and what could not be measured; what was skipped for another part's sake has no news."""
    if result.fault and result.fault is not Fault.SKIPPED:
        yield Failing(result.check.name, FAULT_LABELS[result.fault])
    for finding in result.findings:
        if finding.level is Level.BAD:
            yield Failing(result.check.name, finding.message)


def _of_the_database(error: Exception | None) -> bool:
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
