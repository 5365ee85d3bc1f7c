"""A common beat: what many turns do every so often, they do at the same moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 0.040


class TickSlot:
    """A place at the next beat; given up by `cancel`."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class Ticker:
    """Strikes at the multiples of `SECONDS` in the running loop's time, if anybody waits. One loop has one."""

    def __init__(self) -> None:
        self._struck = 0
        self._places: list[TickSlot] = []

    def next_at(self) -> float:
        """When the next beat is, in the loop's time."""
        return self._next() * SECONDS

    def join(self, call: Callable[[], object]) -> TickSlot:
        """Have `call` called at the next beat."""
        place = TickSlot(call)
        if not self._places:
            asyncio.get_running_loop().call_at(self.next_at(), self._strike, self._next())
        self._places.append(place)
        return place

    def _next(self) -> int:
        # A timer that is a little early must not strike the same beat twice.
        return max(int(asyncio.get_running_loop().time() / SECONDS), self._struck) + 1

    def _strike(self, number: int) -> None:
        self._struck = number
        places, self._places = self._places, []
        for place in places:
            if place.call is not None:
                place.call()
