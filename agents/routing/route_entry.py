"""What a guard keeps of a route that its process has asked, and what it reads of an error."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Protocol

from agents.domain.circuit_breaker import BreakerPolicy
from agents.domain.failures import ErrorClass
from agents.domain.rate_limits import RateLimits
from agents.routing.call_tally import CallTally
from agents.routing.guard_settings import RouteFigures
from agents.routing.route_rows import RouteRow
from agents.routing.route_tokens import RouteTokens


class CallError(Protocol):
    """What a guard reads of the error of a model."""

    @property
    def error_class(self) -> ErrorClass: ...

    @property
    def retry_after_seconds(self) -> float | None: ...

    @property
    def status(self) -> int | None: ...

    @property
    def detail(self) -> str: ...

    @property
    def provider_detail(self) -> str: ...


class RouteEntry:
    """A route that this process has asked."""

    def __init__(self, route: str, row: RouteRow, figures: RouteFigures, policy: BreakerPolicy) -> None:
        self.route = route
        self.key = row.key
        self.row = row
        self.figures = figures
        self.tally = CallTally(policy)
        self.tokens = RouteTokens(row.token_factor, row.context_window)
        # Any call may be made; successes are to be written.
        self.is_plain = False
        self.has_trouble = False
        self.is_probing = False
        # What an answer said of its provider's limits, and why a call failed, until they are written.
        self.limits: RateLimits | None = None
        self.error: CallError | None = None
        # The write of such limits, while it is under way.
        self.pacing: asyncio.Task[None] | None = None
        # When a call that was refused because of the pace could be made.
        self.place_at: datetime | None = None
        self.lock = asyncio.Lock()
        self.timer: asyncio.TimerHandle | None = None
