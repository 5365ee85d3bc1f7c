"""How much a provider still allows, by what its answers say, and how far calls are to be spaced so that it need not
refuse any. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

# Where a provider does not say when its limit resets, and the longest that anybody waits on its word alone.
DEFAULT_RESET_SECONDS = 60.0
MAX_PAUSE_SECONDS = 60.0
# Without a limit to compare with, so many calls are few.
FEW_CALLS = 5
# From this limit on a hundredth of it is left for calls that are under way while the last ones are asked for.
MANY_CALLS = 20


@dataclass(frozen=True, slots=True)
class Allowance:
    """Requests or tokens: the limit, if it was said, what remains of it, and the seconds until it is whole again."""

    remaining: int
    limit: int | None = None
    reset_seconds: float | None = None

    def __str__(self) -> str:
        return f"{self.remaining:,}" + (f" of {self.limit:,}" if self.limit is not None else "")


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What an answer says of its provider's limits. `call_tokens` is an estimate of what its request took."""

    requests: Allowance | None = None
    tokens: Allowance | None = None
    call_tokens: int = 1

    def dump(self) -> dict[str, Any]:
        """For a row, as JSON."""
        allowances = {"requests": self.requests, "tokens": self.tokens}
        return {name: asdict(one) for name, one in allowances.items() if one is not None}


@dataclass(frozen=True, slots=True)
class Pace:
    """Calls are to be `interval_seconds` apart for the next `seconds`."""

    interval_seconds: float
    seconds: float

    @property
    def is_pause(self) -> bool:
        """Whether there is to be no call at all until then."""
        return self.interval_seconds >= self.seconds


def pace(limits: RateLimits, *, reserve_share: float) -> Pace | None:
    """How far apart calls are to be; None where more than `reserve_share` of every limit remains.

    At that share calls come as fast as the limit fills up again, if it does so evenly, and the slower the less remains:
    so it also lasts where a limit becomes whole at once. Where nothing remains the first call comes at the reset.
    """
    in_calls = [limits.requests] if limits.requests is not None else []
    if limits.tokens is not None:
        in_calls.append(_calls(limits.tokens, limits.call_tokens))
    paces = [one for allowance in in_calls if (one := _pace(allowance, reserve_share)) is not None]
    return max(paces, key=lambda one: one.interval_seconds, default=None)


def _calls(tokens: Allowance, call_tokens: int) -> Allowance:
    """An allowance of tokens, in calls."""
    size = max(1, call_tokens)
    limit = tokens.limit // size if tokens.limit is not None else None
    return Allowance(tokens.remaining // size, limit, tokens.reset_seconds)


def _pace(calls: Allowance, reserve_share: float) -> Pace | None:
    reserve = FEW_CALLS if calls.limit is None else reserve_share * calls.limit
    if calls.remaining > reserve or (calls.limit is not None and calls.remaining >= calls.limit):
        return None
    reset = min(calls.reset_seconds if calls.reset_seconds is not None else DEFAULT_RESET_SECONDS, MAX_PAUSE_SECONDS)
    limit = calls.limit or 2 * FEW_CALLS
    usable = calls.remaining - (ceil(limit / 100) if limit >= MANY_CALLS else 0)
    if usable <= 0:
        return Pace(reset, reset)
    refill = reset / max(1, limit - calls.remaining)
    return Pace(min(refill * max(1.0, reserve / usable), reset), reset)
