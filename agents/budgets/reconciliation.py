"""Compares the ledger with the calls that it is about, and windows with the ledger. A difference is a row for people;
nothing here changes what is booked."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from django.db import connection, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from agents.budgets.reservations import settle_and_reserve
from agents.domain.budgets import DifferenceKind
from agents.models import BudgetDifference
from agents.permissions.role_permissions import CHANGE_BUDGET
from foundation.errors import NotFound
from foundation.ids import lowest_id

log = structlog.get_logger(__name__)

# Each night sees what has ended since some nights ago, so that a night may be missed.
REACH: Final = timedelta(days=7)

# All in one statement, which sees one moment: the ledger's only writer changes rows and windows in one transaction.
_COMPARE: Final = f"""
WITH recent AS MATERIALIZED (
    SELECT v.id, v.unit, v.spent, v.reserved, v.starts_at FROM agents_budgetwindow v
    WHERE v.ends_at > %(since)s
), booked AS (
    SELECT k.id, sum(r.settled_usd) AS usd, sum(r.settled_tokens) AS tokens,
           sum(r.usd) FILTER (WHERE r.status IN ('reserved', 'granted')) AS reserved_usd,
           sum(r.tokens) FILTER (WHERE r.status IN ('reserved', 'granted')) AS reserved_tokens
    FROM agents_budgetreservation r CROSS JOIN LATERAL unnest(r.windows) AS k(id)
    WHERE r.created_at >= (SELECT min(starts_at) FROM recent) AND k.id IN (SELECT id FROM recent)
    GROUP BY k.id
), calls AS (
    SELECT r.id, r.status, r.usd, r.tokens, r.settled_usd, r.settled_tokens, r.user_id, r.turn_id, r.step,
           CASE WHEN r.purpose = 'step' THEN p.cost_usd WHEN r.utility_call_id IS NOT NULL THEN u.cost_usd
                ELSE r.reported_usd END AS cost,
           CASE WHEN r.purpose = 'step' THEN p.input_tokens + p.output_tokens
                WHEN r.utility_call_id IS NOT NULL THEN u.input_tokens + u.output_tokens
                ELSE r.reported_tokens END AS used
    FROM agents_budgetreservation r
    LEFT JOIN agents_step p ON p.turn_id = r.turn_id AND p.number = r.step AND r.purpose = 'step'
                               AND p.status <> 'intent' AND p.details ->> 'reservation' = r.id::text
    LEFT JOIN agents_utilitycall u ON u.id = r.utility_call_id
                                      AND u.status <> 'intent' AND u.details ->> 'reservation' = r.id::text
    WHERE r.settled_at > %(since)s
      AND (p.turn_id IS NOT NULL OR u.id IS NOT NULL OR r.reported_at IS NOT NULL)
), billed AS (
    SELECT p.turn_id, p.number AS step, NULL::bigint AS utility_call, t.user_id, s.agent_id, t.api_key_id,
           p.cost_usd AS cost, p.input_tokens + p.output_tokens AS used, p.started_at
    FROM agents_step p
    JOIN agents_turn t ON t.id = p.turn_id JOIN agents_release s ON s.id = t.release_id
    WHERE p.turn_id >= %(first_turn)s AND p.kind = 'model' AND p.status <> 'intent'
      AND (p.cost_usd > 0 OR p.input_tokens + p.output_tokens > 0)
      AND NOT EXISTS (SELECT FROM agents_budgetreservation r
                      WHERE r.turn_id = p.turn_id AND r.step = p.number AND r.id::text = p.details ->> 'reservation')
    UNION ALL
    SELECT u.turn_id, NULL, u.id, u.user_id, NULL, NULL, u.cost_usd, u.input_tokens + u.output_tokens, u.started_at
    FROM agents_utilitycall u
    WHERE u.started_at > %(since)s AND u.status <> 'intent'
      AND (u.cost_usd > 0 OR u.input_tokens + u.output_tokens > 0)
      AND NOT EXISTS (SELECT FROM agents_budgetreservation r
                      WHERE r.utility_call_id = u.id AND r.id::text = u.details ->> 'reservation')
), differences (kind, unit, expected, actual, window_id, reservation_id, user_id, turn_id, step, utility_call_id) AS (
    SELECT '{DifferenceKind.WINDOW_SPENT}', v.unit,
           coalesce(CASE v.unit WHEN 'usd' THEN b.usd ELSE b.tokens END, 0), v.spent,
           v.id, NULL::bigint, NULL::int, NULL::uuid, NULL::smallint, NULL::bigint
    FROM recent v LEFT JOIN booked b ON b.id = v.id
    UNION ALL
    SELECT '{DifferenceKind.WINDOW_RESERVED}', v.unit,
           coalesce(CASE v.unit WHEN 'usd' THEN b.reserved_usd ELSE b.reserved_tokens END, 0), v.reserved,
           v.id, NULL, NULL, NULL, NULL, NULL
    FROM recent v LEFT JOIN booked b ON b.id = v.id
    UNION ALL
    -- Of what is not known all that was reserved counts, and perhaps more.
    SELECT '{DifferenceKind.CALL}', 'usd', round(coalesce(c.cost, c.usd), 8), c.settled_usd,
           NULL, c.id, c.user_id, c.turn_id, c.step, NULL
    FROM calls c
    WHERE c.status = 'settled' AND c.cost IS NOT NULL OR c.settled_usd < round(coalesce(c.cost, c.usd), 8)
    UNION ALL
    SELECT '{DifferenceKind.CALL}', 'tokens', coalesce(c.used, c.tokens), c.settled_tokens,
           NULL, c.id, c.user_id, c.turn_id, c.step, NULL
    FROM calls c
    WHERE c.status = 'settled' AND c.used IS NOT NULL OR c.settled_tokens < coalesce(c.used, c.tokens)
    UNION ALL
    SELECT '{DifferenceKind.OPEN}', 'usd', 0, greatest(r.usd, 0.00000001),
           NULL, r.id, r.user_id, r.turn_id, r.step, r.utility_call_id
    FROM agents_budgetreservation r
    WHERE r.status IN ('waiting', 'granted', 'reserved') AND r.expires_at < statement_timestamp() - interval '1 hour'
    UNION ALL
    SELECT '{DifferenceKind.UNRESERVED}', g.unit, CASE g.unit WHEN 'usd' THEN round(p.cost, 8) ELSE p.used END, 0,
           NULL, NULL, p.user_id, p.turn_id, p.step, p.utility_call
    FROM billed p CROSS JOIN LATERAL (
        SELECT DISTINCT g.unit FROM agents_budget g
        -- Processes hear of a new budget within a second, and a call that had begun by then was not reserved for.
        WHERE g.created_at < p.started_at - interval '10 seconds'
          AND (g.subject IN ('everybody', 'each_user') OR g.user_id = p.user_id OR g.agent_id = p.agent_id
               OR g.api_key_id = p.api_key_id)
    ) g
), upserted AS (
    INSERT INTO agents_budgetdifference AS d (
        kind, unit, expected, actual, window_id, reservation_id, user_id, turn_id, step, utility_call_id,
        created_at, checked_at)
    SELECT kind, unit, expected, actual, window_id, reservation_id, user_id, turn_id, step, utility_call_id,
           statement_timestamp(), statement_timestamp()
    FROM differences WHERE expected <> actual
    ON CONFLICT (kind, unit, window_id, reservation_id, turn_id, step, utility_call_id) DO UPDATE
    SET expected = EXCLUDED.expected, actual = EXCLUDED.actual, checked_at = EXCLUDED.checked_at,
        reviewed_at = CASE WHEN (d.expected, d.actual) = (EXCLUDED.expected, EXCLUDED.actual) THEN d.reviewed_at END
    RETURNING d.reviewed_at
)
SELECT count(*), count(*) FILTER (WHERE reviewed_at IS NULL) FROM upserted
"""  # noqa: S608 - put together from constants; values are parameters


def reconcile() -> int:
    """Settle what has an outcome, compare, store every difference, and return how many nobody has reviewed among those
    that there are now."""
    settle_and_reserve()
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement_timestamp()")
        [at] = cursor.fetchone()
        since = at - REACH
        cursor.execute(_COMPARE, {"since": since, "first_turn": lowest_id(since)})
        differences, unreviewed = cursor.fetchone()
    if unreviewed:
        log.error("ledger.differed", differences=differences, unreviewed=unreviewed)
    return int(unreviewed)


def unreviewed_differences() -> QuerySet[BudgetDifference]:
    """Differences that nobody has reviewed."""
    return BudgetDifference.objects.filter(reviewed_at=None)


@transaction.atomic
def review_difference(actor: Actor, difference_id: int) -> BudgetDifference:
    """Record that `actor` knows of this difference, so that nobody is alarmed of it any more; nothing is booked anew.
    Return it. Raises `Forbidden`, `NotFound`."""
    require_permission(actor, CHANGE_BUDGET)
    difference = BudgetDifference.objects.select_for_update().filter(pk=difference_id).first()
    if difference is None:
        raise NotFound("There is no such difference any more.")
    if difference.reviewed_at is None:
        BudgetDifference.objects.filter(pk=difference.pk).update(reviewed_at=Now(), reviewed_by=actor.user_id)
        difference.refresh_from_db()
        record_audit(actor, "budget_difference.reviewed", target=difference, detail={"kind": difference.kind})
    return difference
