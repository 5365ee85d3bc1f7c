"""What one process knows of the tokens of a route's model: its token factor, and its context window.

They are learned from calls, and stored in the row of the route in the background: other processes begin with them.
"""

from __future__ import annotations

from typing import Final

from django.db import connection

from agents.domain.token_estimates import next_factor, raise_factor
from agents.routing.route_rows import RouteKey

# Stored as the window of a model whose window nobody knows.
UNKNOWN: Final = 0
# The first calls of a process are looked at, then one of so many: what they show changes little.
_FIRST_CALLS: Final = 8
_ONE_OF: Final = 16
# A change that is worth a write, and the steps in which the factor is used: requests must not change with each call.
_LEAST_CHANGE: Final = 0.05

_STORE: Final = """
UPDATE agents_routehealth SET token_factor = %(factor)s, context_window = %(window)s
WHERE provider = %(provider)s AND model = %(model)s AND credential = %(credential)s
"""


class RouteTokens:
    """Of one route. `factor` and `window` are what its row has, None for nothing."""

    def __init__(self, factor: float | None, window: int | None) -> None:
        self._factor = factor
        self._window = window
        self._stored = factor, window
        self._calls = 0

    @property
    def factor(self) -> float:
        """How many tokens an estimated one is, in steps."""
        return 1.0 if self._factor is None else round(self._factor / _LEAST_CHANGE) * _LEAST_CHANGE

    def is_due(self) -> bool:
        """Count a call; whether it should be recorded."""
        self._calls += 1
        return self._calls <= _FIRST_CALLS or self._calls % _ONE_OF == 0

    def record(self, *, estimated: int, reported: int, window: int | None) -> None:
        """Learn from a call, whose request had so many tokens; `window` is None if nobody knows it."""
        self._window = window or UNKNOWN
        old = 1.0 if self._factor is None else self._factor
        new = next_factor(old, estimated=estimated, reported=reported)
        if new != old:
            self._factor = new

    def record_overflow(self) -> None:
        """Learn from a request that should have fitted and was refused."""
        self._factor = raise_factor(1.0 if self._factor is None else self._factor)

    def take_unstored(self) -> tuple[float | None, int | None] | None:
        """Factor and window to store now; None if they are hardly other ones than those that are stored."""
        factor, window = self._stored
        is_same_factor = self._factor == factor or (
            self._factor is not None and factor is not None and abs(self._factor - factor) < _LEAST_CHANGE
        )
        if is_same_factor and window == self._window:
            return None
        self._stored = self._factor, self._window
        return self._stored


def store_tokens(key: RouteKey, factor: float | None, window: int | None) -> None:
    """Store what was learned in the row of a route, if it has one."""
    with connection.cursor() as cursor:
        cursor.execute(_STORE, {**key._asdict(), "factor": factor, "window": window})
