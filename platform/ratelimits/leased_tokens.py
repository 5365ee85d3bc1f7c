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
MOST_KEYS = 20_000


@dataclass(slots=True)
class _Entry:
    tokens: int = 0
    until: float = 0.0
    left_in_bucket: int = 0
    full_at: float = 0.0
    free_at: float = 0.0
    look_again_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Known:
    """Tokens held here, those left in the bucket at the last look at it, and in how many seconds all are back."""

    held: int
    in_bucket: int
    full_in_seconds: float


class LeasedTokens:
    """Safe from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._pockets: dict[str, _Entry] = {}

    def wait_seconds(self, key: str, at: float) -> float | None:
        """How long until the bucket of `key` has a token again, if it is known to be empty."""
        with self._lock:
            pocket = self._pockets.get(key)
            if pocket is None or at >= pocket.look_again_at or pocket.tokens:
                return None
            return max(0.0, pocket.free_at - at)

    def missing(self, keys: Sequence[str], at: float) -> list[str]:
        """Those of `keys` without a token; when there are none, one of each is spent."""
        with self._lock:
            pockets = [self._pockets.get(key) for key in keys]
            lacking = [key for key, pocket in zip(keys, pockets, strict=True) if not _holds(pocket, at)]
            if not lacking:
                for pocket in pockets:
                    assert pocket is not None
                    pocket.tokens -= 1
            return lacking

    def put(self, key: str, tokens: int, at: float, *, left_in_bucket: int, full_in_seconds: float) -> None:
        """Add tokens that were taken out of the bucket of `key`."""
        with self._lock:
            if len(self._pockets) >= MOST_KEYS:
                self._pockets.clear()  # forgetting costs what was held, and one look per key
            pocket = self._pockets.setdefault(key, _Entry())
            pocket.tokens = tokens + (pocket.tokens if _holds(pocket, at) else 0)
            pocket.until = at + HOLD_SECONDS
            pocket.left_in_bucket = left_in_bucket
            pocket.full_at = at + full_in_seconds
            pocket.look_again_at = 0.0

    def note_empty(self, key: str, at: float, *, wait_seconds: float, full_in_seconds: float) -> None:
        """The bucket of `key` had nothing; it gets a token in `wait_seconds`."""
        with self._lock:
            pocket = self._pockets.setdefault(key, _Entry())
            pocket.left_in_bucket = 0
            pocket.full_at = at + full_in_seconds
            pocket.free_at = at + wait_seconds
            pocket.look_again_at = at + min(wait_seconds, LOOK_AGAIN_SECONDS)

    def known(self, key: str, at: float) -> Known | None:
        """What is known of the bucket of `key` and of the tokens held here."""
        with self._lock:
            pocket = self._pockets.get(key)
            if pocket is None:
                return None
            held = pocket.tokens if _holds(pocket, at) else 0
            return Known(held, pocket.left_in_bucket, max(0.0, pocket.full_at - at))

    def clear(self) -> None:
        """Forget everything, as a new process would."""
        with self._lock:
            self._pockets.clear()


def _holds(pocket: _Entry | None, at: float) -> bool:
    return pocket is not None and pocket.tokens > 0 and at < pocket.until
