"""What a runner counts of the turns that it ran, from its start on. Totals only rise."""

from __future__ import annotations

from typing import Any


class TurnCounters:
    """Written on the event loop, read in any thread."""

    def __init__(self) -> None:
        self._requests = 0
        self._errors = 0
        self._seconds = 0.0
        self._context_percent = 0.0
        self._context_turns = 0

    def count(self, *, seconds: float, is_error: bool, context_percent: float | None) -> None:
        """Count a turn that has ended `seconds` after its claim. `context_percent`: how much of its model's window the
        last request used, None if there was none."""
        self._requests += 1
        self._errors += is_error
        self._seconds += seconds
        if context_percent is not None:
            self._context_percent += context_percent
            self._context_turns += 1

    def figures(self) -> dict[str, Any]:
        """The totals, by the names that samples of processes use."""
        return {
            "requests_total": self._requests,
            "errors_total": self._errors,
            "seconds_total": round(self._seconds, 3),
            "context_percent_total": round(self._context_percent, 1),
            "context_total": self._context_turns,
        }
