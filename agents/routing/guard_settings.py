"""The settings of a process's guard of routes."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.domain.circuit_breaker import BreakerPolicy


@dataclass(frozen=True, slots=True)
class RouteFigures:
    """How long a call may be silent before it counts as slow, and the first probe before it has failed. Each further
    one may be silent for twice as long, up to `max_probe_seconds`: a model that is slow and healthy passes at last."""

    slow_seconds: float = 60
    probe_seconds: float = 15
    max_probe_seconds: float = 60

    def probe_deadline(self, opens_in_row: int) -> float:
        """The seconds for the first token of a probe, after the breaker opened so many times in a row."""
        # The exponent is bounded, as a route may be gone for weeks.
        doubled = self.probe_seconds * (1 << min(max(opens_in_row - 1, 0), 16))
        return max(self.probe_seconds, min(doubled, self.max_probe_seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """`credential_seconds`: how long nobody asks with a credential that was refused. Calls are spaced where less than
    `reserve_share` of a provider's limit remains; who would wait for more than `max_pace_seconds` is refused,
    in the background for more than `background_pace_seconds`."""

    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    credential_seconds: float = 300
    reserve_share: float = 0.1
    max_pace_seconds: float = 5
    background_pace_seconds: float = 1
