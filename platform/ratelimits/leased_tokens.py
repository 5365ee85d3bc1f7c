"""Tokens that this process has leased from buckets ahead of their use. Pure: times are passed in, in monotonic seconds.

To save a statement per request, a process takes several tokens at once, a share of the bucket, and spends them from
memory. They leave the bucket before they are spent, so a limit is never exceeded; with several processes, one may
reject requests while another still holds a few tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

HOLD_SECONDS = 60.0
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

    def missing(self, keys: Sequence[str], at: float) -> list[str]:
        """Return those of `keys` without a leased token; if there are none, spend one of each."""
        with self._lock:
            entries = [self._entries.get(key) for key in keys]
            missing = [key for key, entry in zip(keys, entries, strict=True) if not _holds(entry, at)]
            if not missing:
                for entry in entries:
                    assert entry is not None
                    entry.tokens -= 1
            return missing

    def put(self, key: str, tokens: int, at: float, *, in_bucket: int, full_in_seconds: float) -> None:
        """Add tokens that were taken out of the bucket of `key`."""
        with self._lock:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.clear()  # loses the leased tokens, and costs one statement per key
            entry = self._entries.setdefault(key, _Entry())
            entry.tokens = tokens + (entry.tokens if _holds(entry, at) else 0)
            entry.until = at + HOLD_SECONDS
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
            leased = entry.tokens if _holds(entry, at) else 0
            return LeaseState(leased, entry.in_bucket, max(0.0, entry.full_at - at))

    def clear(self) -> None:
        """Drop all state, for tests."""
        with self._lock:
            self._entries.clear()


def _holds(entry: _Entry | None, at: float) -> bool:
    return entry is not None and entry.tokens > 0 and at < entry.until
