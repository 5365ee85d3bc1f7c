"""Deadlines for a provider, by the clock of the event loop."""

from __future__ import annotations

import asyncio

from agents.llm.interface import Deadlines

LATE_FIRST = "The model did not begin its answer in time."
LATE_NEXT = "The model fell silent in the middle of its answer."
LATE_TOTAL = "The model took too long for its answer."


class DeadlineClock:
    """The deadlines of one request, in the event loop's time.

    Silence is the time of waiting for the provider's next event: the time that our own code takes is not counted, and a
    keep-alive comment is no event.
    """

    def __init__(self, deadlines: Deadlines) -> None:
        self._now = asyncio.get_running_loop().time
        self._silence_seconds = deadlines.silence_seconds
        self._waited_seconds = 0.0
        self._waiting_since = started_at = self._now()
        self.total_at = started_at + deadlines.total_seconds
        self.first_token_at = min(started_at + deadlines.first_token_seconds, self.total_at)

    def begin_wait(self, *, has_started: bool) -> float:
        """Begin to wait; return the deadline of this wait."""
        self._waiting_since = self._now()
        if not has_started:
            return self.first_token_at
        return min(self._waiting_since + self._silence_seconds - self._waited_seconds, self.total_at)

    def end_wait(self, *, got_event: bool) -> None:
        """A wait has ended; `got_event`: with an event."""
        self._waited_seconds = 0.0 if got_event else self._waited_seconds + self._now() - self._waiting_since

    def timeout_message(self, due_at: float, *, has_started: bool) -> str:
        """The error message for a wait that reached its deadline `due_at`."""
        if due_at >= self.total_at:
            return LATE_TOTAL
        return LATE_NEXT if has_started else LATE_FIRST

    def cap_deadline(self, seconds: float) -> float:
        """The time in `seconds` from now, or the total deadline if that is earlier."""
        return min(self._now() + seconds, self.total_at)
