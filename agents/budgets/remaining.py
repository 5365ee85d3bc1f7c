"""How much is left of the budgets that somebody's calls draw on, for that person to see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection

from agents.budgets.window_sql import PRESENT_PERIOD
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit

# Of a budget for several people its users see only how much of it is used: amounts would tell what others spend.
SHARED_SUBJECTS: Final = frozenset({BudgetSubject.EVERYBODY, BudgetSubject.GROUP, BudgetSubject.AGENT})

# Those of a user's own first, and the shorter periods before the longer ones.
_READ: Final = f"""
SELECT b.id, b.subject, coalesce(g.name, a.name, k.name, ''), b.unit, b.period, p.amount, coalesce(w.spent, 0),
       b.warn_percent, p.ends_at
FROM agents_budget b
{PRESENT_PERIOD}
LEFT JOIN auth_group g ON g.id = b.group_id
LEFT JOIN agents_agent a ON a.id = b.agent_id
LEFT JOIN accounts_apikey k ON k.id = b.api_key_id
LEFT JOIN agents_budgetwindow w
     ON w.budget_id = b.id AND w.starts_at = p.starts_at
        AND w.counted_user = CASE WHEN b.subject = 'each_user' THEN %(user)s ELSE 0 END
WHERE b.subject = 'everybody'
   OR b.user_id = %(user)s
   OR b.api_key_id = %(key)s::uuid
   OR %(with_keys)s AND k.user_id = %(user)s AND k.revoked_at IS NULL
   OR b.group_id IN (SELECT m.group_id FROM accounts_user_groups m WHERE m.user_id = %(user)s)
   OR a.archived_at IS NULL AND a.id IS NOT NULL
      AND (NOT EXISTS (SELECT FROM agents_agent_groups t WHERE t.agent_id = a.id)
           OR EXISTS (SELECT FROM agents_agent_groups t JOIN accounts_user_groups m ON m.group_id = t.group_id
                      WHERE t.agent_id = a.id AND m.user_id = %(user)s))
   OR b.subject = 'each_user' AND NOT EXISTS (
          SELECT FROM agents_budget o WHERE o.user_id = %(user)s AND o.unit = b.unit AND o.period = b.period)
ORDER BY array_position(ARRAY['user', 'each_user', 'key', 'group', 'agent', 'everybody'], b.subject::text),
         3, b.unit DESC, array_position(ARRAY['hour', 'day', 'week', 'month'], b.period::text), b.id
"""  # noqa: S608 - put together from a constant; values are parameters


@dataclass(frozen=True, slots=True)
class RemainingBudget:
    """A budget in its present window, as its users may see it.

    `name` is that of its group, agent or key; "" for others. `amount` and `remaining` are US dollars or tokens, None
    where others draw on it, too. `is_low`: so much is used that its users are warned; `is_exhausted`: nothing is left
    before `resets_at`.
    """

    budget_id: UUID
    subject: BudgetSubject
    name: str
    unit: BudgetUnit
    period: BudgetPeriod
    amount: Decimal | None
    remaining: Decimal | None
    used_percent: int
    is_low: bool
    is_exhausted: bool
    resets_at: datetime


def remaining_budgets(*, user_id: int, key_id: UUID | None = None, with_keys: bool = False) -> list[RemainingBudget]:
    """The budgets that calls of this user draw on, with this API key if it is one's; of agents, of all that the user
    may ask. `with_keys`: those of all keys of the user. What is only reserved counts as left. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_READ, {"user": user_id, "key": key_id, "with_keys": with_keys})
        return [_build(row) for row in cursor.fetchall()]


def _build(row: tuple[Any, ...]) -> RemainingBudget:
    budget_id, subject, name, unit, period, amount, spent, warn_percent, ends_at = row
    used_percent = min(100, int(spent * 100 / amount)) if amount else 100
    is_shared = BudgetSubject(subject) in SHARED_SUBJECTS
    return RemainingBudget(
        budget_id=budget_id,
        subject=BudgetSubject(subject),
        name=name,
        unit=BudgetUnit(unit),
        period=BudgetPeriod(period),
        amount=None if is_shared else amount,
        remaining=None if is_shared else max(Decimal(0), amount - spent),
        used_percent=used_percent,
        is_low=0 < warn_percent <= used_percent,
        is_exhausted=spent >= amount,
        resets_at=ends_at,
    )
