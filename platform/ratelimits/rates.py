"""The maths of a token bucket: pure, times in seconds.

A bucket holds `limit` tokens and fills up again evenly, `limit` in `period_seconds`. All that is kept of it is how long
it takes until it is full; from that follows what is in it now.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` things in `period_seconds`, all of them at once if need be; 0 is no limit.

    `name` is what refusals and headers call it. A process takes `lease` tokens ahead, see `ratelimits.leased_tokens`.
    """

    name: str
    limit: int
    period_seconds: float = 60.0
    lease: int = 1

    @property
    def token_seconds(self) -> float:
        """How long the bucket takes to regain one token."""
        return self.period_seconds / self.limit

    def tokens(self, full_in_seconds: float) -> int:
        """Whole tokens in a bucket that is full again in so long."""
        # A hair of tolerance: a time that was stored and read again must not cost a token.
        missing = max(0.0, full_in_seconds) / self.token_seconds
        return max(0, math.floor(self.limit - missing + 1e-6))

    def wait_seconds(self, full_in_seconds: float) -> float:
        """How long until there is a token again; 0 when there is one."""
        return max(0.0, full_in_seconds - (self.limit - 1) * self.token_seconds)


@dataclass(frozen=True, slots=True)
class Remaining:
    """What remains of a rate, as far as this process knows, and in how long all of it is back."""

    rate: Rate
    tokens: int
    full_in_seconds: float
