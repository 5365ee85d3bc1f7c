"""What the trials do, and what they report: both are JSON between the two processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

BREAKER: Final = "breaker"
LOAD: Final = "load"
MEMORY: Final = "memory"
ALERT: Final = "alert"
TRIALS: Final = (BREAKER, MEMORY, LOAD, ALERT)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """`trials` are done in their order, and all end after `seconds`. The load are `rounds` of `sessions` turns side by
    side, each with the message `load_text`. A breaker has `failing_calls` to open; `recovers`: the scratch provider
    answers again, and the breaker has `recovery_seconds` to close. `receiver_answers`: notifications are taken.
    """

    trials: tuple[str, ...] = TRIALS
    sessions: int = 8
    rounds: int = 5
    load_text: str = "[[offline words=20]]"
    failing_calls: int = 50
    recovers: bool = True
    recovery_seconds: float = 10.0
    receiver_answers: bool = True
    seconds: float = 60.0

    def dump(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> TrialSettings:
        """From JSON."""
        return cls(**{**values, "trials": tuple(values["trials"])})


@dataclass(frozen=True, slots=True)
class TrialReport:
    """What each trial has measured, by its name; `faults` says why one could not be done, in words."""

    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def fault(self, trial: str) -> str:
        """Why the trial has no result; "" where it has one."""
        return "" if trial in self.results else self.faults.get(trial, "It was not tried.")
