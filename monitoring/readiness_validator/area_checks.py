"""Runs all areas, one after the other; what happens in one does not end the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog
from django.conf import settings

from monitoring.readiness_validator.areas import (
    configuration_checks,
    dependency_checks,
    error_handling_checks,
    memory_checks,
    monitoring_checks,
    performance_checks,
    security_checks,
)
from monitoring.readiness_validator.candidates import ReleaseCandidate
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope

log = structlog.get_logger(__name__)

AREAS: Final[Mapping[Area, Callable[[RunScope], Iterable[CheckLine]]]] = {
    Area.CONFIGURATION: configuration_checks.check,
    Area.DEPENDENCIES: dependency_checks.check,
    Area.ERROR_HANDLING: error_handling_checks.check,
    Area.MEMORY_MANAGEMENT: memory_checks.check,
    Area.PERFORMANCE: performance_checks.check,
    Area.SECURITY: security_checks.check,
    Area.MONITORING: monitoring_checks.check,
}


def make_scope(candidates: Iterable[ReleaseCandidate]) -> RunScope:
    """The scope of a run about `candidates` in this process's environment."""
    return RunScope(candidates=list(candidates), config=settings.BANDSTAND, environment=settings)


def validate(scope: RunScope, areas: Iterable[Area] = AREAS) -> list[CheckLine]:
    """The lines of `areas`. Takes half a minute at most in all but the worst case; not within a transaction."""
    return [line for area in areas for line in _check_area(area, scope)]


def _check_area(area: Area, scope: RunScope) -> list[CheckLine]:
    lines: list[CheckLine] = []
    try:
        lines.extend(AREAS[area](scope))
    except Exception as error:
        log.exception("readiness_area.failed", area=area.value)
        lines.append(
            LineMaker(area).failed(
                area.value,
                f"It could not be checked: {type(error).__name__}.",
                "The log of whoever ran the check says why.",
            )
        )
    return lines
