"""The arithmetic of token buckets. Pure; times are in seconds.

A bucket holds `limit` tokens and refills evenly, `limit` per `period_seconds`. Its state is the time until it is full,
from which the present number of tokens follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

HOLD_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` events per `period_seconds`, with bursts up to `limit`; 0 is no limit.

    `name` identifies it in errors and headers. A process leases `lease` tokens at once, and holds them for
    `hold_seconds`, see `ratelimits.leased_tokens`. `refusal` says what is used up.
    """

    name: str
    limit: int
    period_seconds: float = 60.0
    lease: int = 1
    hold_seconds: float = HOLD_SECONDS
    refusal: str = ""

    @property
    def token_seconds(self) -> float:
        """Seconds in which the bucket regains one token."""
        return self.period_seconds / self.limit

    def tokens(self, full_in_seconds: float) -> int:
        """The whole tokens in a bucket that is full in `full_in_seconds`."""
        # Tolerance for rounding: a time that was stored and read back must not cost a token.
        missing = max(0.0, full_in_seconds) / self.token_seconds
        return max(0, math.floor(self.limit - missing + 1e-6))

    def wait_seconds(self, full_in_seconds: float, tokens: int = 1) -> float:
        """Seconds until so many tokens are available; 0 if they are."""
        return max(0.0, full_in_seconds - (self.limit - tokens) * self.token_seconds)


@dataclass(frozen=True, slots=True)
class Remaining:
    """The remaining tokens of a rate, as far as this process knows, and the seconds until all are back."""

    rate: Rate
    tokens: int
    full_in_seconds: float
