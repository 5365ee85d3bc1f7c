"""The retry budget: how many calls a process may ask a second time, so that an outage causes no storm of retries.

Each provider has a bucket of tokens. Retries take from it, calls that succeed at once put something back. All runners
together have `TOTAL_TOKENS` for each provider, which they divide among them: nothing is shared and nothing is written.
"""

from __future__ import annotations

from agents.domain.failures import ErrorClass
from agents.domain.states import Priority

TOTAL_TOKENS = 500.0
RETRY_COST = 14.0
THROTTLED_RETRY_COST = 5.0
SUCCESS_GAIN = 1.0


class RetryBudget:
    """The share of one process. Not for several threads."""

    def __init__(self, runners: int = 1) -> None:
        self._capacity = _share(runners)
        # What each provider has taken from its bucket, if anything.
        self._used: dict[str, float] = {}

    @property
    def capacity(self) -> float:
        """The tokens in a full bucket."""
        return self._capacity

    def divide(self, runners: int) -> None:
        """Divide the tokens by the number of live `runners`. Buckets stay as full as they were, in proportion."""
        capacity = _share(runners)
        self._used = {provider: used * capacity / self._capacity for provider, used in self._used.items()}
        self._capacity = capacity

    def tokens(self, route: str) -> float:
        """What the bucket of the provider of `route` holds."""
        return self._capacity - self._used.get(_provider(route), 0.0)

    def allows_retry(self, route: str, error_class: str, priority: int = Priority.INTERACTIVE) -> bool:
        """Whether `route` may be asked again after such an error. The background leaves half of it to others."""
        reserve = self._capacity / 2 if priority >= Priority.BACKGROUND else 0.0
        return self.tokens(route) - reserve >= _cost(error_class)

    def take_retry(self, route: str, error_class: str) -> None:
        """Pay for one retry, which `allows_retry` has allowed."""
        provider = _provider(route)
        self._used[provider] = self._used.get(provider, 0.0) + _cost(error_class)

    def add_success(self, route: str) -> None:
        """Put something back for a call that needed no retry."""
        provider = _provider(route)
        # A full bucket needs no entry: without failures nothing is stored.
        if provider in self._used and (used := self._used.pop(provider) - SUCCESS_GAIN) > 0:
            self._used[provider] = used


def _share(runners: int) -> float:
    """One runner's part; at least one retry, or a large installation would never retry at all."""
    return max(TOTAL_TOKENS / max(runners, 1), RETRY_COST)


def _provider(route: str) -> str:
    return route.partition(":")[0]


def _cost(error_class: str) -> float:
    return THROTTLED_RETRY_COST if error_class == ErrorClass.RATE_LIMIT else RETRY_COST
