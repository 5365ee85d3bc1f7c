"""A shared ticker: work that many turns do periodically happens at the same moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICK_SECONDS = 0.040


class TickSlot:
    """A callback at the next tick, until `cancel`."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class Ticker:
    """Ticks at the multiples of `TICK_SECONDS` of the running loop's time, if there are callbacks. One per loop."""

    def __init__(self) -> None:
        self._last_tick = 0
        self._slots: list[TickSlot] = []

    def next_tick_time(self) -> float:
        """The time of the next tick, in seconds of the loop's time."""
        return self._next_tick() * TICK_SECONDS

    def join(self, call: Callable[[], object]) -> TickSlot:
        """Call `call` at the next tick, unless the returned slot is cancelled."""
        slot = TickSlot(call)
        if not self._slots:
            asyncio.get_running_loop().call_at(self.next_tick_time(), self._tick, self._next_tick())
        self._slots.append(slot)
        return slot

    def _next_tick(self) -> int:
        # A timer that fires a little early must not cause the same tick twice.
        return max(int(asyncio.get_running_loop().time() / TICK_SECONDS), self._last_tick) + 1

    def _tick(self, number: int) -> None:
        self._last_tick = number
        slots, self._slots = self._slots, []
        for slot in slots:
            if slot.call is not None:
                slot.call()
