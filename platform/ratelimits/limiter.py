"""The one function that every way in asks before it does something: all the buckets of it must have a token."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Sequence
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import TypeAlias
from uuid import UUID

from django.conf import settings

from foundation.errors import RateLimited
from ratelimits import buckets
from ratelimits.leased_tokens import LeasedTokens, LeaseState
from ratelimits.rates import Rate, Remaining

LimitedKey: TypeAlias = tuple[Rate, str]

# A share of the bucket, so that small limits are exact and large ones cost a statement in fifty.
LEASED_SHARE = 20
LARGEST_LEASE = 50

# What this process holds.
leased_tokens = LeasedTokens()
_filling = [Lock() for _ in range(64)]


@lru_cache(maxsize=256)
def rate(name: str, limit: int, period_seconds: float = 60.0, *, leased: bool = True) -> Rate:
    """A rate with the lease that fits its limit."""
    lease = max(1, min(limit // LEASED_SHARE, LARGEST_LEASE)) if leased else 1
    return Rate(name, limit, period_seconds, lease)


def consume(limits: Sequence[LimitedKey]) -> list[Remaining]:
    """Take one token from every bucket, or from none; what remains. Raises `RateLimited` with the longest wait."""
    limits = [limit for limit in limits if limit[0].limit]
    rates = {key: limit for limit, key in limits}
    if leased_tokens.missing(list(rates), monotonic()):
        # One at a time, and each in the order of its buckets: or two could hold one token each, and neither pass.
        with _filling[hash(limits[0][1]) % len(_filling)]:
            while missing := leased_tokens.missing(list(rates), monotonic()):
                for key in missing:
                    _fill(rates[key], key)
    return [_remaining(limit, key) for limit, key in limits]


def guard_request(*, user_id: int, key_id: UUID | None) -> list[Remaining]:
    """Count one request of an account, and of the key it came with. Raises `RateLimited`."""
    return consume(request_limits(user_id=user_id, key_id=key_id))


def guard_message(*, user_id: int, key_id: UUID | None, session_id: UUID | None) -> list[Remaining]:
    """Count one message of an account, of the key it came with and of the session (None: it begins one).

    Raises `RateLimited`.
    """
    limits = message_limits(user_id=user_id, key_id=key_id)
    if session_id is not None:
        per_session = settings.BANDSTAND.messages_per_session_per_minute
        # The account stands in the session's key, too: nobody uses up what is another's.
        limits.append((rate("messages-session", per_session), f"m:s:{user_id}:{session_id}"))
    return consume(limits)


def guard_bad_key(address: str | None) -> None:
    """Count one API key that was no good. Raises `RateLimited`; good keys from there are not held up."""
    if address:
        consume([(rate("bad-keys", settings.BANDSTAND.bad_keys_per_minute), f"k:a:{client_network(address)}")])


def request_limits(*, user_id: int, key_id: UUID | None) -> list[LimitedKey]:
    limit = settings.BANDSTAND.requests_per_minute
    limits = [(rate("requests", limit), f"r:u:{user_id}")]
    return limits if key_id is None else [*limits, (rate("requests-key", limit), f"r:k:{key_id}")]


def message_limits(*, user_id: int, key_id: UUID | None) -> list[LimitedKey]:
    limit = settings.BANDSTAND.messages_per_minute
    limits = [(rate("messages", limit), f"m:u:{user_id}")]
    return limits if key_id is None else [*limits, (rate("messages-key", limit), f"m:k:{key_id}")]


def remaining(limits: Sequence[LimitedKey]) -> list[Remaining]:
    """What remains in the buckets, in one query. What this process has taken ahead counts as there."""
    full_in = buckets.peek([key for _, key in limits])
    return [_remaining(limit, key, full_in.get(key, 0.0)) for limit, key in limits if limit.limit]


def client_network(address: str) -> str:
    """Whom an address stands for: itself, or the /64 that an IPv6 customer has as a whole."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return hashlib.sha256(address.encode()).hexdigest()[:16]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def rate_limited(limit: Rate, wait_seconds: float, full_in_seconds: float) -> RateLimited:
    """The error that says when to come back."""
    seconds = max(1, math.ceil(wait_seconds))
    return RateLimited(
        f"Too many requests ({limit.name}). Try again in {format_wait(seconds)}.",
        retry_after_seconds=round(max(wait_seconds, 0.001), 3),
        rule=f"rate:{limit.name}",
        remaining=[Remaining(limit, 0, full_in_seconds)],
    )


def format_wait(seconds: int) -> str:
    """A wait as people say it."""
    count, unit = (seconds, "second") if seconds < 120 else (math.ceil(seconds / 60), "minute")
    return f"{count} {unit}" + ("" if count == 1 else "s")


def _fill(limit: Rate, key: str) -> None:
    at = monotonic()
    wait = leased_tokens.wait_seconds(key, at)
    if wait is not None:
        raise rate_limited(limit, wait, wait + (limit.limit - 1) * limit.token_seconds)
    result = buckets.take_tokens(limit, key, count=limit.lease)
    full_in = result.full_in_seconds
    if result.tokens:
        leased_tokens.put(key, result.tokens, at, left_in_bucket=limit.tokens(full_in), full_in_seconds=full_in)
        return
    wait = limit.wait_seconds(full_in)
    leased_tokens.note_empty(key, at, wait_seconds=wait, full_in_seconds=full_in)
    raise rate_limited(limit, wait, full_in)


def _remaining(limit: Rate, key: str, full_in_seconds: float | None = None) -> Remaining:
    """From what was just read of the bucket, or else from what was last seen of it."""
    state = leased_tokens.state(key, monotonic()) or LeaseState(0, limit.limit, 0.0)
    if full_in_seconds is None:
        return Remaining(limit, state.leased + state.in_bucket, state.full_in_seconds)
    return Remaining(limit, min(limit.limit, limit.tokens(full_in_seconds) + state.leased), full_in_seconds)
