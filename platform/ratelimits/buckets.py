"""Token buckets in the database: one statement takes tokens, under the row's lock and by the database's clock.

The table is UNLOGGED: a crash of PostgreSQL refills every bucket, and no statement waits for the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection

from foundation.db_retry import retry_after_lost_connection
from ratelimits.rates import Rate

# The row stores when the bucket is full again. Availability is computed on the locked row, so that of concurrent
# statements exactly as many succeed as there are tokens. `granted` only carries the number to RETURNING.
# For an empty bucket, the second SELECT returns the unchanged row.
_AVAILABLE = """floor(%(limit)s - greatest(0, extract(epoch FROM b.full_at - statement_timestamp()))
                                  / %(token_seconds)s + 1e-6)::int"""
_TAKE = f"""
WITH taken AS (
    INSERT INTO ratelimits_bucket AS b (key, full_at, granted)
    VALUES (%(key)s, statement_timestamp() + %(want)s * %(token_seconds)s * interval '1 second', %(want)s)
    ON CONFLICT (key) DO UPDATE
    SET granted = least(%(want)s, {_AVAILABLE}),
        full_at = greatest(b.full_at, statement_timestamp())
                  + least(%(want)s, {_AVAILABLE}) * %(token_seconds)s * interval '1 second'
    WHERE {_AVAILABLE} >= 1
    RETURNING granted, extract(epoch FROM full_at - statement_timestamp())::float8 AS full_in
)
SELECT granted, full_in FROM taken
UNION ALL
SELECT 0, extract(epoch FROM full_at - statement_timestamp())::float8 FROM ratelimits_bucket
WHERE key = %(key)s AND NOT EXISTS (SELECT FROM taken)
"""  # noqa: S608 - put together from a constant; values are parameters
_REFUND = """
UPDATE ratelimits_bucket SET full_at = full_at - %(token_seconds)s * interval '1 second' WHERE key = %(key)s
"""
_UNTIL_FULL = """
SELECT key, extract(epoch FROM full_at - statement_timestamp())::float8 FROM ratelimits_bucket WHERE key = ANY(%(keys)s)
"""
_LOW = f"""
SELECT b.key, extract(epoch FROM b.full_at - statement_timestamp())::float8 FROM ratelimits_bucket b
WHERE b.key LIKE %(prefix)s || '%%' AND {_AVAILABLE} < %(tokens)s ORDER BY b.full_at DESC LIMIT %(max_rows)s
"""  # noqa: S608 - put together from a constant; values are parameters
_PURGE = "DELETE FROM ratelimits_bucket WHERE full_at < now()"


@dataclass(frozen=True, slots=True)
class TakenTokens:
    """The number of tokens taken, 0 if the bucket was empty, and the seconds until it is full."""

    tokens: int
    full_in_seconds: float


def take_tokens(rate: Rate, key: str, *, count: int) -> TakenTokens:
    """Take up to `count` tokens from the bucket of `key`, as many as there are. Raises `Unavailable`."""
    rows = _fetch(
        _TAKE, {"key": key, "limit": rate.limit, "token_seconds": rate.token_seconds, "want": min(count, rate.limit)}
    )
    # No row: a concurrent transaction created and emptied the bucket.
    return TakenTokens(*rows[0]) if rows else TakenTokens(0, rate.period_seconds)


def refund_token(rate: Rate, key: str) -> None:
    """Return one token to the bucket of `key`."""
    with connection.cursor() as cursor:
        cursor.execute(_REFUND, {"key": key, "token_seconds": rate.token_seconds})


def seconds_until_full(keys: list[str]) -> dict[str, float]:
    """The seconds until each bucket is full, by key; absent buckets are full."""
    with connection.cursor() as cursor:
        cursor.execute(_UNTIL_FULL, {"keys": keys})
        return {key: max(0.0, full_in) for key, full_in in cursor.fetchall()}


def find_low(rate: Rate, prefix: str, *, tokens: int, max_rows: int) -> list[tuple[str, float]]:
    """The buckets with fewer than `tokens` whose keys begin with `prefix`, and in how many seconds each is full."""
    values: dict[str, Any] = {"limit": rate.limit, "token_seconds": rate.token_seconds}
    with connection.cursor() as cursor:
        cursor.execute(_LOW, values | {"prefix": prefix, "tokens": tokens, "max_rows": max_rows})
        return list(cursor.fetchall())


def reset_bucket(key: str) -> None:
    """Refill the bucket of `key`. Processes that cached it as empty notice within a second."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM ratelimits_bucket WHERE key = %s", [key])


def purge_full_buckets() -> int:
    """Delete the rows of full buckets, which equal absent ones; return how many."""
    with connection.cursor() as cursor:
        cursor.execute(_PURGE)
        return int(cursor.rowcount)


def _fetch(statement: str, values: dict[str, Any]) -> list[tuple[int, float]]:
    return retry_after_lost_connection(lambda: _rows(statement, values))


def _rows(statement: str, values: dict[str, Any]) -> list[tuple[int, float]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return list(cursor.fetchall())
