"""What a web process counts of its requests and websockets, from its start on. Totals only rise."""

from __future__ import annotations

from typing import Any, Final, Literal

ScopeType = Literal["http", "websocket"]


class RequestCounters:
    """Written on the event loop, read in any thread."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {"http": 0, "websocket": 0}
        self._requests = 0
        self._errors = 0
        self._seconds = 0.0

    def begin(self, kind: ScopeType) -> None:
        """A request or a websocket has come."""
        self._open[kind] += 1

    def end(self, kind: ScopeType, *, status: int, seconds: float) -> None:
        """It has ended. `status` is that of its response, 0 if there was none; `seconds` passed until the response
        began, for a stream may last as long as its client listens."""
        self._open[kind] -= 1
        if kind == "http":
            self._requests += 1
            self._errors += status >= 500
            self._seconds += seconds

    def figures(self) -> dict[str, Any]:
        """The totals, by the names that samples of processes use, and what is open now."""
        return {
            "requests_total": self._requests,
            "errors_total": self._errors,
            "seconds_total": round(self._seconds, 3),
            "queue_length": self._open["http"],
            "open_websockets": self._open["websocket"],
        }


request_counters: Final = RequestCounters()
