"""What a process keeps only to be faster, and can do without when its memory runs short."""

from __future__ import annotations

from typing import Final, Protocol
from weakref import WeakSet


class DroppableCache(Protocol):
    """Something that keeps what it could make again."""

    def drop_cache(self) -> None:
        """Forget it. Called in any thread."""
        ...


_caches: Final[WeakSet[DroppableCache]] = WeakSet()


def register_cache(cache: DroppableCache) -> None:
    """Have `cache` dropped when memory runs short, as long as it is there."""
    _caches.add(cache)


def drop_caches() -> None:
    """Drop all caches of this process."""
    for cache in list(_caches):
        cache.drop_cache()
