"""Run checks: each by itself, whatever becomes of the others, within a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import structlog
from django.db import DatabaseError, InterfaceError, connection

from checks.check import Check, Finding, Level, worst
from foundation.db_threads import DATABASE_FAULTS

M = TypeVar("M")

log = structlog.get_logger(__name__)

# A statement gets this part of a run's time, so that one that hangs leaves time for the others.
STATEMENT_SHARE: Final = 1 / 3
# What PostgreSQL says when a statement took too long: itself, or its wait for a lock.
_TOO_LONG: Final = frozenset({"57014", "55P03"})


class Fault(StrEnum):
    """Why a check has nothing to say."""

    FAILED = "failed"
    LATE = "late"
    SKIPPED = "skipped"  # because of a prerequisite


FAULT_LABELS: Final = {
    Fault.FAILED: "could not be checked",
    Fault.LATE: "took too long to check",
    Fault.SKIPPED: "was not checked",
}


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What became of a check in a run: findings, or a fault, with what was raised if anything was."""

    check: Check[Any]
    findings: tuple[Finding, ...] = ()
    fault: Fault | None = None
    error: Exception | None = None

    @property
    def level(self) -> Level | None:
        """The worst of the findings'; None if nothing was measured."""
        return None if self.fault else worst(self.findings)


class Measurements:
    """What one run has measured: each thing once, however many ask for it. `now` is the moment of the run."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._values: dict[Callable[[Measurements], Any], Any] = {}
        self._errors: dict[Callable[[Measurements], Any], Exception] = {}

    def get(self, measure: Callable[[Measurements], M]) -> M:
        """What `measure` returned in this run. Raises what it raised, each time."""
        if measure in self._errors:
            raise self._errors[measure]
        if measure not in self._values:
            try:
                self._values[measure] = measure(self)
            except Exception as error:
                self._errors[measure] = error
                raise
        value: M = self._values[measure]
        return value

    def has(self, measure: Callable[[Measurements], Any]) -> bool:
        """Whether `get` costs nothing."""
        return measure in self._values or measure in self._errors


def run_checks(checks: Iterable[Check[Any]], *, now: datetime, seconds: float) -> list[CheckResult]:
    """One result for each of `checks`, in their order; never raises for what a check does.

    The server ends a statement after a third of `seconds`, and nothing is begun in the last third. Not to be called in
    a transaction: there, a statement that fails takes all that follow with it.
    """
    checks = list(checks)
    if not checks:
        return []
    begin_until = time.monotonic() + seconds * (1 - STATEMENT_SHARE)
    measurements = Measurements(now)
    results: list[CheckResult] = []
    with _statement_limit(seconds * STATEMENT_SHARE):
        for check in checks:
            if any(result.check.prerequisite and result.level is not Level.GOOD for result in results):
                result = CheckResult(check, fault=Fault.SKIPPED)
            elif time.monotonic() > begin_until and not measurements.has(check.measure):
                result = CheckResult(check, fault=Fault.LATE)
            else:
                result = _result(check, measurements)
            results.append(result)
    _report(results)
    return results


def _result(check: Check[Any], measurements: Measurements) -> CheckResult:
    try:
        return CheckResult(check, check.evaluate(measurements.get(check.measure)))
    except Exception as error:
        late = getattr(error.__cause__, "sqlstate", None) in _TOO_LONG
        return CheckResult(check, fault=Fault.LATE if late else Fault.FAILED, error=error)


def _report(results: list[CheckResult]) -> None:
    """Log each error once, however many checks it spoiled; a database that is away, without a traceback per probe."""
    errors: dict[int, CheckResult] = {}
    for result in results:
        if result.error is not None:
            errors.setdefault(id(result.error), result)
    for result in errors.values():
        name, error = result.check.name, result.error
        if isinstance(error, DATABASE_FAULTS):
            log.warning("check.failed", check=name, reason=str(error))
        else:
            log.error("check.failed", check=name, exc_info=error)


@contextmanager
def _statement_limit(seconds: float) -> Iterator[None]:
    """Have the server end statements after `seconds`. Without a database the checks say that themselves."""
    limited = _execute("SELECT set_config('statement_timeout', %s, false)", f"{max(1, round(seconds * 1000))}ms")
    try:
        yield
    finally:
        if limited and not _execute("RESET statement_timeout") and not connection.in_atomic_block:
            _discard_connection()


def _execute(sql: str, *params: str) -> bool:
    """Whether the statement could be executed."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, params or None)
    except (DatabaseError, InterfaceError):
        return False
    return True


def _discard_connection() -> None:
    """Its next user shall not have our limit, so it does not go back to the pool alive."""
    if connection.connection is not None:
        connection.connection.close()
    connection.close()
