"""The present window of a budget and its label, in SQL."""

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

# The label of a budget `b` in alerts and metrics, where no user and no text of a user is named: "group sales, usd per
# month", "agent demo, tokens per day", "everybody, usd per day".
BUDGET_LABEL: Final = """
CASE b.subject
    WHEN 'group' THEN 'group ' || (SELECT n.name FROM auth_group n WHERE n.id = b.group_id)
    WHEN 'agent' THEN 'agent ' || (SELECT n.slug FROM agents_agent n WHERE n.id = b.agent_id)
    WHEN 'key' THEN 'API key'
    ELSE replace(b.subject, '_', ' ')
END || ', ' || b.unit || ' per ' || b.period
"""
