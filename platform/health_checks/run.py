"""Runs checks independently of each other, within a bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

import structlog

from foundation.db_threads import DATABASE_FAULTS
from foundation.db_timeouts import is_timeout, statement_timeout
from health_checks.check import Check, Finding, Level, highest_level

M = TypeVar("M")

log = structlog.get_logger(__name__)

# The share of a run's time that one SQL statement may take, so that one that hangs leaves time for other checks.
STATEMENT_SHARE: Final = 1 / 3


class Fault(StrEnum):
    """Why a check has no findings."""

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
    """The result of a check in a run: findings, or a fault with the exception, if there was one."""

    check: Check[Any]
    findings: tuple[Finding, ...] = ()
    fault: Fault | None = None
    error: Exception | None = None

    @property
    def level(self) -> Level | None:
        """The most severe level of the findings; None if nothing was measured."""
        return None if self.fault else highest_level(self.findings)


class Measurements:
    """Caches the measurements of one run, so that each is made once. `now` is the time of the run."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._values: dict[Callable[[Measurements], Any], Any] = {}
        self._errors: dict[Callable[[Measurements], Any], Exception] = {}

    def get(self, measure: Callable[[Measurements], M]) -> M:
        """Return what `measure` returned in this run, or raise what it raised."""
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
        """Whether `measure` has run already."""
        return measure in self._values or measure in self._errors


def run_checks(checks: Iterable[Check[Any]], *, now: datetime, seconds: float) -> list[CheckResult]:
    """Run `checks` and return their results in the given order; exceptions of checks are caught.

    A statement times out after a third of `seconds`, and no check is started in the last third. Do not call it in a
    transaction, which the first failing statement would abort.
    """
    checks = list(checks)
    if not checks:
        return []
    start_deadline = time.monotonic() + seconds * (1 - STATEMENT_SHARE)
    measurements = Measurements(now)
    results: list[CheckResult] = []
    with statement_timeout(seconds * STATEMENT_SHARE):
        for check in checks:
            if any(result.check.prerequisite and result.level is not Level.GOOD for result in results):
                result = CheckResult(check, fault=Fault.SKIPPED)
            elif time.monotonic() > start_deadline and not measurements.has(check.measure):
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
        return CheckResult(check, fault=Fault.LATE if is_timeout(error) else Fault.FAILED, error=error)


def _report(results: list[CheckResult]) -> None:
    """Log each error once, even if it affected several checks; database errors are logged without traceback."""
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
