"""Tokens that this process has leased from buckets ahead of their use. Pure: times are passed in, in monotonic seconds.

To save a statement per request, a process takes several tokens at once, a share of the bucket, and spends them from
memory. They leave the bucket before they are spent, so a limit is never exceeded; with several processes, one may
reject requests while another still holds a few tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock

# A flood is rejected from memory; the bucket is queried again after so long, as tokens may have been returned.
RECHECK_SECONDS = 1.0
MAX_ENTRIES = 20_000


@dataclass(slots=True)
class _Entry:
    tokens: int = 0
    until: float = 0.0
    in_bucket: int = 0
    full_at: float = 0.0
    free_at: float = 0.0
    recheck_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Tokens leased here, those in the bucket when it was last read, and the seconds until all are back."""

    leased: int
    in_bucket: int
    full_in_seconds: float


class LeasedTokens:
    """The leased tokens by key. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, _Entry] = {}

    def wait_seconds(self, key: str, at: float) -> float | None:
        """Seconds until the bucket of `key` has a token again, if it is known to be empty, else None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or at >= entry.recheck_at or entry.tokens:
                return None
            return max(0.0, entry.free_at - at)

    def missing(self, costs: Mapping[str, int], at: float) -> list[str]:
        """Return the keys for which fewer tokens are leased than they cost; if there are none, spend all of them."""
        with self._lock:
            entries = {key: self._entries.get(key) for key in costs}
            missing = [key for key, entry in entries.items() if _tokens(entry, at) < costs[key]]
            if not missing:
                for key, entry in entries.items():
                    assert entry is not None
                    entry.tokens -= costs[key]
            return missing

    def leased(self, key: str, at: float) -> int:
        """The tokens leased from the bucket of `key`."""
        with self._lock:
            return _tokens(self._entries.get(key), at)

    def put(
        self, key: str, tokens: int, at: float, *, in_bucket: int, full_in_seconds: float, hold_seconds: float
    ) -> None:
        """Add tokens that were taken out of the bucket of `key`; unused, they are forfeited after `hold_seconds`."""
        with self._lock:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.clear()  # loses the leased tokens, and costs one statement per key
            entry = self._entries.setdefault(key, _Entry())
            entry.tokens = tokens + _tokens(entry, at)
            entry.until = at + hold_seconds
            entry.in_bucket = in_bucket
            entry.full_at = at + full_in_seconds
            entry.recheck_at = 0.0

    def note_empty(self, key: str, at: float, *, wait_seconds: float, full_in_seconds: float) -> None:
        """Record that the bucket of `key` is empty and gets a token in `wait_seconds`."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.in_bucket = 0
            entry.full_at = at + full_in_seconds
            entry.free_at = at + wait_seconds
            entry.recheck_at = at + min(wait_seconds, RECHECK_SECONDS)

    def state(self, key: str, at: float) -> LeaseState | None:
        """The leased tokens of `key` and the last known state of its bucket, or None."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            return LeaseState(_tokens(entry, at), entry.in_bucket, max(0.0, entry.full_at - at))

    def clear(self) -> None:
        """Drop all state, for tests."""
        with self._lock:
            self._entries.clear()


def _tokens(entry: _Entry | None, at: float) -> int:
    return entry.tokens if entry is not None and at < entry.until else 0
