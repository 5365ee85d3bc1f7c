"""The limits of one socket: pure counters; times are monotonic seconds and passed in."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Limits of every socket. The defaults are the published ones."""

    unseen_events: int = 500
    seen_timeout_seconds: float = 30.0
    frames_per_second: int = 200
    pending_frames: int = 200
    pending_bytes: int = 1024 * 1024
    bad_frames: int = 5
    bad_frames_seconds: float = 60.0
    # How long a new socket waits for a `resume` before it goes live on its own.
    hold_seconds: float = 1.0


class SlidingWindow:
    """A sliding window: at most `limit - 1` events in any `seconds`."""

    __slots__ = ("_limit", "_seconds", "_times")

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=limit)

    def exceeded(self, at: float) -> bool:
        """Count one more; True when it is the `limit`th within the window."""
        self._times.append(at)
        return len(self._times) == self._limit and at - self._times[0] < self._seconds


class Window:
    """The seqs of events that were sent and not yet acknowledged by the client."""

    __slots__ = ("_limit", "_unseen")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._unseen: deque[int] = deque()

    @property
    def full(self) -> bool:
        return len(self._unseen) >= self._limit

    def add(self, seq: int) -> None:
        self._unseen.append(seq)

    def acknowledge(self, seq: int) -> None:
        unseen = self._unseen
        while unseen and unseen[0] <= seq:
            unseen.popleft()

    def clear(self) -> None:
        self._unseen.clear()
