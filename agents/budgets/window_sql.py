"""The present window of a budget, in SQL."""

from __future__ import annotations

from typing import Final

# Joins to each budget `b` its present window `p`, from `starts_at` to `ends_at`, with the `amount` that counts now.
PRESENT_PERIOD: Final = """
CROSS JOIN LATERAL (
    SELECT date_trunc(b.period, now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS starts_at,
           (date_trunc(b.period, now() AT TIME ZONE 'UTC') + ('1 ' || b.period)::interval) AT TIME ZONE 'UTC'
               AS ends_at,
           CASE WHEN b.override_until > now() THEN b.override_amount ELSE b.amount END AS amount
) p
"""
