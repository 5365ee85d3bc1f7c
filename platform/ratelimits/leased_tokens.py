"""Tokens that this process took out of buckets ahead of their use: pure, the time is passed in (monotonic seconds).

A turn costs one statement, and a limit may not add another. So a process takes some tokens at once, a share of what the
bucket holds, and spends them from memory. They are gone from the bucket before they are spent, so a limit is never
exceeded; with several processes one may be refused while another still holds a few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

HOLD_SECONDS = 60.0
# A flood is refused from memory; so often the bucket is asked again, lest we miss what was given back to it.
LOOK_AGAIN_SECONDS = 1.0
MAX_ENTRIES = 20_000


@dataclass(slots=True)
class _Entry:
    tokens: int = 0
    until: float = 0.0
    left_in_bucket: int = 0
    full_at: float = 0.0
    free_at: float = 0.0
    look_again_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LeaseState:
    """Tokens held here, those left in the bucket at the last look at it, and in how many seconds all are back."""

    leased: int
    in_bucket: int
    full_in_seconds: float


class LeasedTokens:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._entries: dict[str, _Entry] = {}

    def wait_seconds(self, key: str, at: float) -> float | None:
        """How long until the bucket of `key` has a token again, if it is known to be empty."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or at >= entry.look_again_at or entry.tokens:
                return None
            return max(0.0, entry.free_at - at)

    def missing(self, keys: Sequence[str], at: float) -> list[str]:
        """Those of `keys` without a token; when there are none, one of each is spent."""
        with self._lock:
            entries = [self._entries.get(key) for key in keys]
            lacking = [key for key, entry in zip(keys, entries, strict=True) if not _holds(entry, at)]
            if not lacking:
                for entry in entries:
                    assert entry is not None
                    entry.tokens -= 1
            return lacking

    def put(self, key: str, tokens: int, at: float, *, left_in_bucket: int, full_in_seconds: float) -> None:
        """Add tokens that were taken out of the bucket of `key`."""
        with self._lock:
            if len(self._entries) >= MAX_ENTRIES:
                self._entries.clear()  # forgetting costs what was held, and one look per key
            entry = self._entries.setdefault(key, _Entry())
            entry.tokens = tokens + (entry.tokens if _holds(entry, at) else 0)
            entry.until = at + HOLD_SECONDS
            entry.left_in_bucket = left_in_bucket
            entry.full_at = at + full_in_seconds
            entry.look_again_at = 0.0

    def note_empty(self, key: str, at: float, *, wait_seconds: float, full_in_seconds: float) -> None:
        """The bucket of `key` had nothing; it gets a token in `wait_seconds`."""
        with self._lock:
            entry = self._entries.setdefault(key, _Entry())
            entry.left_in_bucket = 0
            entry.full_at = at + full_in_seconds
            entry.free_at = at + wait_seconds
            entry.look_again_at = at + min(wait_seconds, LOOK_AGAIN_SECONDS)

    def state(self, key: str, at: float) -> LeaseState | None:
        """What is known of the bucket of `key` and of the tokens held here."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            leased = entry.tokens if _holds(entry, at) else 0
            return LeaseState(leased, entry.left_in_bucket, max(0.0, entry.full_at - at))

    def clear(self) -> None:
        """Forget everything, as a new process would."""
        with self._lock:
            self._entries.clear()


def _holds(entry: _Entry | None, at: float) -> bool:
    return entry is not None and entry.tokens > 0 and at < entry.until
