"""Who works next when many want to: in turns of those who ask, and nobody more than a share of it. Pure; not
thread-safe."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class FairShares(Generic[T]):
    """At most `total` items are at work, and at most `share` of one key; the others wait, in order within their key.

    When one has finished, the keys that wait take turns, so that a key with a thousand items delays another by one of
    them. The key None is the system's own: it is first in line, and has no share.
    """

    def __init__(self, total: int, share: int) -> None:
        self._total = total
        self._share = share
        self._at_work: Counter[str | None] = Counter()
        self._busy = 0
        self._waiting: dict[str | None, deque[T]] = {}

    def add(self, key: str | None, item: T) -> bool:
        """Return whether `item` is at work now; else it waits, until `finish` returns it."""
        if self._busy < self._total and self._has_share(key):
            self._begin(key)
            return True
        self._waiting.setdefault(key, deque()).append(item)
        return False

    def remove(self, key: str | None, item: T) -> None:
        """Remove `item`, which waits."""
        items = self._waiting[key]
        items.remove(item)
        if not items:
            del self._waiting[key]

    def finish(self, key: str | None) -> T | None:
        """One item of `key` has ended: return the one that is at work in its place, or None."""
        self._at_work[key] -= 1
        self._busy -= 1
        if not self._at_work[key]:
            del self._at_work[key]
        for following in self._next_keys():
            return self._take_turn(following)
        return None

    def _next_keys(self) -> Iterator[str | None]:
        """The keys of which an item may begin, the one whose turn it is first."""
        if None in self._waiting:
            yield None
        yield from (key for key in self._waiting if self._has_share(key))

    def _take_turn(self, key: str | None) -> T:
        items = self._waiting.pop(key)
        item = items.popleft()
        if items:
            self._waiting[key] = items  # behind all other keys
        self._begin(key)
        return item

    def _has_share(self, key: str | None) -> bool:
        return key is None or self._at_work[key] < self._share

    def _begin(self, key: str | None) -> None:
        self._at_work[key] += 1
        self._busy += 1
