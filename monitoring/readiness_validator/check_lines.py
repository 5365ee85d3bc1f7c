"""The lines of a result: each has passed, or says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Area(StrEnum):
    CONFIGURATION = "configuration"
    DEPENDENCIES = "dependencies"
    ERROR_HANDLING = "error handling"
    MEMORY_MANAGEMENT = "memory management"
    PERFORMANCE = "performance"
    SECURITY = "security"
    MONITORING = "monitoring"


class CheckOutcome(StrEnum):
    """A warning makes nothing fail: whoever reads it decides."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """One check: what was seen, and what to do unless it has passed. `agent` is the slug of the agent that it is about;
    "": the installation. `route` is the route that it is about, if it is."""

    area: Area
    name: str
    outcome: CheckOutcome
    message: str
    remedy: str = ""
    agent: str = ""
    route: str = ""

    def dump(self) -> dict[str, str]:
        """As JSON."""
        return {
            "area": self.area.value,
            "name": self.name,
            "outcome": self.outcome.value,
            "message": self.message,
            "remedy": self.remedy,
            "agent": self.agent,
            "route": self.route,
        }

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> CheckLine:
        """From JSON."""
        return cls(**{**stored, "area": Area(stored["area"]), "outcome": CheckOutcome(stored["outcome"])})


@dataclass(frozen=True, slots=True)
class LineMaker:
    """Makes the lines of one area, about one agent or the installation."""

    area: Area
    agent: str = ""
    route: str = ""

    def passed(self, name: str, message: str) -> CheckLine:
        """A check that found nothing."""
        return CheckLine(
            area=self.area, name=name, outcome=CheckOutcome.PASSED, message=message, agent=self.agent, route=self.route
        )

    def warning(self, name: str, message: str, remedy: str) -> CheckLine:
        """A check that found what somebody should look at."""
        return self._line(name, CheckOutcome.WARNING, message, remedy)

    def failed(self, name: str, message: str, remedy: str) -> CheckLine:
        """A check that found what must be put right."""
        return self._line(name, CheckOutcome.FAILED, message, remedy)

    def judge(self, name: str, is_right: bool, good: str, bad: str, remedy: str) -> CheckLine:
        """Passed with the message `good` where `is_right`, else failed with `bad`."""
        return self.passed(name, good) if is_right else self.failed(name, bad, remedy)

    def _line(self, name: str, outcome: CheckOutcome, message: str, remedy: str) -> CheckLine:
        return CheckLine(
            area=self.area,
            name=name,
            outcome=outcome,
            message=message,
            remedy=remedy,
            agent=self.agent,
            route=self.route,
        )


def has_failed(lines: Iterable[CheckLine]) -> bool:
    """Whether one of them has."""
    return any(line.outcome is CheckOutcome.FAILED for line in lines)
