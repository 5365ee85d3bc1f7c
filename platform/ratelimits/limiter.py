"""Rate limiting: `consume`, and the limits of requests, messages and bad keys."""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from time import monotonic
from typing import TypeAlias
from uuid import UUID

from django.conf import settings

from foundation.errors import BandstandError, RateLimited, TooLarge, Unavailable
from ratelimits import buckets
from ratelimits.leased_tokens import LeasedTokens, LeaseState
from ratelimits.rates import Rate, Remaining

LimitedKey: TypeAlias = tuple[Rate, str]

# A lease is a share of the bucket, so that small limits are exact and large ones cost a statement per 50 requests.
LEASED_SHARE = 20
LARGEST_LEASE = 50
HOUR_SECONDS = 3600.0
DAY_SECONDS = 24 * HOUR_SECONDS

# The tokens that this process has leased.
leased_tokens = LeasedTokens()
_filling = [Lock() for _ in range(64)]


@lru_cache(maxsize=256)
def rate(name: str, limit: int, period_seconds: float = 60.0, *, leased: bool = True) -> Rate:
    """A `Rate` whose lease fits its limit."""
    return Rate(name, limit, period_seconds, _lease(limit) if leased else 1)


def _lease(limit: int) -> int:
    return max(1, min(limit // LEASED_SHARE, LARGEST_LEASE))


def consume(limits: Sequence[LimitedKey], costs: Mapping[str, int] | None = None) -> list[Remaining]:
    """Take one token from every bucket, or as many as `costs` says by key, or none at all; return what remains.

    Raises `RateLimited` with the wait.
    """
    limits = [limit for limit in limits if limit[0].limit]
    rates = {key: limit for limit, key in limits}
    prices = {key: (costs or {}).get(key, 1) for key in rates}
    if leased_tokens.missing(prices, monotonic()):
        # Serialised, in the order of the buckets: otherwise two threads could hold one token each, and neither proceed.
        with _filling[hash(limits[0][1]) % len(_filling)]:
            while missing := leased_tokens.missing(prices, monotonic()):
                for key in missing:
                    _fill(rates[key], key, prices[key])
    return [_remaining(limit, key) for limit, key in limits]


def guard_request(*, user_id: int, key_id: UUID | None) -> list[Remaining]:
    """Count one request of a user and API key; return what remains. Raises `RateLimited`."""
    return consume(request_limits(user_id=user_id, key_id=key_id))


def guard_known_flood(user_id: int) -> None:
    """Raise `RateLimited` if the user's requests are known to be used up: from memory, and uncounted."""
    [(limit, key)] = request_limits(user_id=user_id, key_id=None)
    wait = leased_tokens.wait_seconds(key, monotonic()) if limit.limit else None
    if wait is not None:
        raise rate_limited(limit, wait, wait + (limit.limit - 1) * limit.token_seconds)


def guard_message(
    *, user_id: int, key_id: UUID | None, session_id: UUID | None, size_bytes: int = 0
) -> list[Remaining]:
    """Count one message of a user, API key and session (None: a new one) and its bytes; return what remains.

    Raises `RateLimited`, and `TooLarge` for what no day has room for.
    """
    limits = message_limits(user_id=user_id, key_id=key_id)
    if session_id is not None:
        per_session = settings.BANDSTAND.messages_per_session_per_minute
        # With the user's id in the key, so that no user can exhaust the limit of another's session.
        limits.append((rate("messages-session", per_session), f"m:s:{user_id}:{session_id}"))
    storage = storage_limit(user_id=user_id)
    # The hour comes last: its tokens are too few to be held for a message that another limit refuses.
    limits += [storage, hourly_message_limit(user_id=user_id)]
    return consume(limits, {storage[1]: _kilobytes(storage[0], size_bytes)})


@contextmanager
def count_message(
    *, user_id: int, key_id: UUID | None, session_id: UUID | None, size_bytes: int = 0
) -> Iterator[list[Remaining]]:
    """Count a message against its limits, as `guard_message` does and with what that raises; one that the block then
    refuses does not count in the hour.

    Minutes are left as they are: they limit how often somebody tries.
    """
    remains = guard_message(user_id=user_id, key_id=key_id, session_id=session_id, size_bytes=size_bytes)
    try:
        yield remains
    except Unavailable:
        raise  # it may have been stored
    except BandstandError:
        refund_message(user_id=user_id)
        raise


def refund_message(*, user_id: int) -> None:
    """Return a message that was counted to the limit of the hour, as for a repeat of one that counted before."""
    limit, key = hourly_message_limit(user_id=user_id)
    if limit.limit:
        buckets.refund_token(limit, key)


def guard_storage(*, user_id: int, size_bytes: int) -> None:
    """Count bytes that a user stores. Raises `RateLimited`, and `TooLarge` for what no day has room for."""
    storage = storage_limit(user_id=user_id)
    consume([storage], {storage[1]: _kilobytes(storage[0], size_bytes)})


def storage_limit(*, user_id: int) -> LimitedKey:
    """The limit and bucket key of what a user stores in a day, in KiB."""
    return _storage_rate(settings.BANDSTAND.stored_megabytes_per_day), f"b:u:{user_id}"


@lru_cache(maxsize=16)
def _storage_rate(megabytes: int) -> Rate:
    limit = megabytes * 1024
    # Held long: it takes hours to get back what is forfeited.
    return Rate(
        "stored-kilobytes",
        limit,
        DAY_SECONDS,
        _lease(limit),
        hold_seconds=3600.0,
        refusal=f"You have stored what you may in a day ({megabytes} MB of messages, copies and metadata).",
    )


def _kilobytes(limit: Rate, size_bytes: int) -> int:
    kilobytes = max(1, math.ceil(size_bytes / 1024))
    if limit.limit and kilobytes > limit.limit:
        raise TooLarge(f"This is more than you may store in a day ({limit.limit // 1024} MB).")
    return kilobytes


def guard_bad_key(address: str | None) -> None:
    """Count one invalid API key from `address`. Raises `RateLimited`; valid keys are not limited by this."""
    if address:
        consume([_bad_key_limit(address)])


def guard_known_bad_keys(address: str) -> None:
    """Raise `RateLimited` if `address` is known to have used up its invalid keys: from memory, and uncounted."""
    limit, key = _bad_key_limit(address)
    wait = leased_tokens.wait_seconds(key, monotonic()) if limit.limit else None
    if wait is not None:
        raise rate_limited(limit, wait, wait + (limit.limit - 1) * limit.token_seconds)


def _bad_key_limit(address: str) -> LimitedKey:
    return rate("bad-keys", settings.BANDSTAND.bad_keys_per_minute), f"k:a:{client_network(address)}"


def request_limits(*, user_id: int, key_id: UUID | None) -> list[LimitedKey]:
    """The limits and bucket keys of a request."""
    limit = settings.BANDSTAND.requests_per_minute
    limits = [(rate("requests", limit), f"r:u:{user_id}")]
    return limits if key_id is None else [*limits, (rate("requests-key", limit), f"r:k:{key_id}")]


def message_limits(*, user_id: int, key_id: UUID | None) -> list[LimitedKey]:
    """The limits and bucket keys of a message, without that of its session."""
    limit = settings.BANDSTAND.messages_per_minute
    limits = [(rate("messages", limit), f"m:u:{user_id}")]
    return limits if key_id is None else [*limits, (rate("messages-key", limit), f"m:k:{key_id}")]


def hourly_message_limit(*, user_id: int) -> LimitedKey:
    """The limit and bucket key of a user's messages in an hour. A key has none of its own: it sends for its user."""
    return _hourly_rate(settings.BANDSTAND.messages_per_hour), f"m:h:{user_id}"


@lru_cache(maxsize=16)
def _hourly_rate(messages: int) -> Rate:
    return Rate(
        "messages-hour",
        messages,
        HOUR_SECONDS,
        refusal=f"You have sent the messages that you may in an hour ({messages}).",
    )


def remaining(limits: Sequence[LimitedKey]) -> list[Remaining]:
    """What remains in the buckets, by one query. Tokens leased by this process count as remaining."""
    full_in = buckets.seconds_until_full([key for _, key in limits])
    return [_remaining(limit, key, full_in.get(key, 0.0)) for limit, key in limits if limit.limit]


def client_network(address: str) -> str:
    """The network that counts as one client: an IPv4 address, or the /64 of an IPv6 one; a digest of other text."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return hashlib.sha256(address.encode()).hexdigest()[:16]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed.ipv4_mapped or ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))
    return str(parsed)


def rate_limited(limit: Rate, wait_seconds: float, full_in_seconds: float) -> RateLimited:
    """The error for an empty bucket, with the seconds to wait."""
    seconds = max(1, math.ceil(wait_seconds))
    return RateLimited(
        f"{limit.refusal or f'Too many requests ({limit.name}).'} Try again in {format_wait(seconds)}.",
        retry_after_seconds=round(max(wait_seconds, 0.001), 3),
        rule=f"rate:{limit.name}",
        remaining=[Remaining(limit, 0, full_in_seconds)],
    )


def format_wait(seconds: int) -> str:
    """A waiting time as text: "1 second", "5 minutes", "3 hours"."""
    count, unit = (seconds, "second") if seconds < 120 else (math.ceil(seconds / 60), "minute")
    if count >= 120 and unit == "minute":
        count, unit = math.ceil(count / 60), "hour"
    return f"{count} {unit}" + ("" if count == 1 else "s")


def _fill(limit: Rate, key: str, cost: int) -> None:
    at = monotonic()
    wait = leased_tokens.wait_seconds(key, at)
    if wait is not None:
        raise rate_limited(limit, wait, wait + (limit.limit - 1) * limit.token_seconds)
    leased = leased_tokens.leased(key, at)
    result = buckets.take_tokens(limit, key, count=max(limit.lease, cost - leased))
    full_in = result.full_in_seconds
    if result.tokens:
        leased_tokens.put(
            key,
            result.tokens,
            at,
            in_bucket=limit.tokens(full_in),
            full_in_seconds=full_in,
            hold_seconds=limit.hold_seconds,
        )
        return
    wait = limit.wait_seconds(full_in, cost - leased)
    if not leased:
        leased_tokens.note_empty(key, at, wait_seconds=limit.wait_seconds(full_in), full_in_seconds=full_in)
    raise rate_limited(limit, wait, full_in)


def _remaining(limit: Rate, key: str, full_in_seconds: float | None = None) -> Remaining:
    """What remains, by the given reading of the bucket, or else by its last known state."""
    state = leased_tokens.state(key, monotonic()) or LeaseState(0, limit.limit, 0.0)
    if full_in_seconds is None:
        return Remaining(limit, state.leased + state.in_bucket, state.full_in_seconds)
    return Remaining(limit, min(limit.limit, limit.tokens(full_in_seconds) + state.leased), full_in_seconds)
