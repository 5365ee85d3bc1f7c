"""The settings of a process's guard of routes."""

from __future__ import annotations

from dataclasses import dataclass, field

from agents.domain.circuit_breaker import BreakerPolicy


@dataclass(frozen=True, slots=True)
class RouteFigures:
    """How long a call may be silent before it counts as slow, and a probe before it has failed."""

    slow_seconds: float = 60
    probe_seconds: float = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardSettings:
    """`credential_seconds`: how long nobody asks with a credential that was refused. Calls are spaced where less than
    `reserve_share` of a provider's limit remains; who would wait for more than `max_pace_seconds` is refused."""

    breaker: BreakerPolicy = field(default_factory=BreakerPolicy)
    credential_seconds: float = 300
    reserve_share: float = 0.1
    max_pace_seconds: float = 5
