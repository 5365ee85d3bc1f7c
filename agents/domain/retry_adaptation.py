"""The pause before a retry adapts to how retries went lately: where they were in vain, the next ones wait longer."""

from __future__ import annotations

# A pause is stretched to twice its length at most.
MAX_FACTOR = 2.0
# The weight of the newest retry in the average.
WEIGHT = 0.2
# Closer to 1 than this is 1.
_FORGOTTEN = 0.01


class RetryAdaptation:
    """What one process has seen, by provider. Not for several threads."""

    def __init__(self, *, is_on: bool = True) -> None:
        self._is_on = is_on
        # The share of retries that failed, as a moving average; providers whose retries go well have no entry.
        self._failed: dict[str, float] = {}

    def factor(self, route: str) -> float:
        """By how much the pauses of `route` are longer: from 1 to `MAX_FACTOR`."""
        return 1.0 + (MAX_FACTOR - 1.0) * self._failed.get(_provider(route), 0.0)

    def record_retry(self, route: str, *, succeeded: bool) -> None:
        """Take one retry into account."""
        if not self._is_on:
            return
        provider = _provider(route)
        failed = self._failed.pop(provider, 0.0) * (1.0 - WEIGHT) + (0.0 if succeeded else WEIGHT)
        if failed > _FORGOTTEN:
            self._failed[provider] = failed


def _provider(route: str) -> str:
    return route.partition(":")[0]
