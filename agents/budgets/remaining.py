"""What remains of the budgets that a person's calls draw on, and of all of them for operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import connection

from agents.budgets.window_sql import PRESENT_PERIOD
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit

# Whose amounts a user may know: what is spent of others is spent by others, too.
OWN_SUBJECTS: Final = frozenset({BudgetSubject.USER, BudgetSubject.EACH_USER, BudgetSubject.KEY})

# A window without a row has nothing spent.
_COLUMNS: Final = """
    b.id, b.subject, coalesce(u.username, g.name, a.name, k.name, ''), b.unit, b.period,
    p.amount, CASE WHEN b.override_until > now() THEN b.override_until END, b.warn_percent,
    coalesce(w.spent, 0), coalesce(w.reserved, 0), coalesce(w.overdraft, 0), p.ends_at
"""
_TABLES: Final = f"""
FROM agents_budget b
{PRESENT_PERIOD}
LEFT JOIN accounts_user u ON u.id = b.user_id
LEFT JOIN auth_group g ON g.id = b.group_id
LEFT JOIN agents_agent a ON a.id = b.agent_id
LEFT JOIN accounts_apikey k ON k.id = b.api_key_id
"""
# Those of one's own come first, and shorter periods before longer ones.
_OF_USER: Final = f"""
SELECT {_COLUMNS} {_TABLES}
LEFT JOIN agents_budgetwindow w ON w.budget_id = b.id AND w.starts_at = p.starts_at
    AND w.counted_user = CASE WHEN b.subject = 'each_user' THEN %(user)s ELSE 0 END
WHERE b.subject = 'everybody' OR b.user_id = %(user)s OR b.api_key_id = %(key)s::uuid
   OR b.agent_id = %(agent)s::uuid
   OR %(all_keys)s AND k.user_id = %(user)s AND k.revoked_at IS NULL
   OR %(all_agents)s AND b.subject = 'agent' AND a.archived_at IS NULL
      AND (NOT EXISTS (SELECT FROM agents_agent_groups t WHERE t.agent_id = a.id)
           OR EXISTS (SELECT FROM agents_agent_groups t JOIN accounts_user_groups m ON m.group_id = t.group_id
                      WHERE t.agent_id = a.id AND m.user_id = %(user)s))
   OR b.group_id IN (SELECT m.group_id FROM accounts_user_groups m WHERE m.user_id = %(user)s)
   OR b.subject = 'each_user' AND NOT EXISTS (
          SELECT FROM agents_budget o WHERE o.user_id = %(user)s AND o.unit = b.unit AND o.period = b.period)
ORDER BY array_position(ARRAY['user', 'each_user', 'key', 'group', 'agent', 'everybody'], b.subject::text), 3,
         b.unit DESC, array_position(ARRAY['hour', 'day', 'week', 'month'], b.period::text), b.id
"""  # noqa: S608 - put together from constants
# Of a budget for each user: the one that has used most.
_ALL: Final = f"""
SELECT {_COLUMNS} {_TABLES}
LEFT JOIN LATERAL (
    SELECT w.spent, w.reserved, w.overdraft FROM agents_budgetwindow w
    WHERE w.budget_id = b.id AND w.starts_at = p.starts_at
    ORDER BY w.spent + w.reserved DESC LIMIT 1) w ON true
ORDER BY b.subject, b.unit, b.period, b.id
"""  # noqa: S608 - put together from constants
# Of those of single users only what is overdrawn.
_SHARED: Final = f"""
SELECT {_COLUMNS} {_TABLES}
LEFT JOIN LATERAL (
    SELECT w.spent, w.reserved, w.overdraft FROM agents_budgetwindow w
    WHERE w.budget_id = b.id AND w.starts_at = p.starts_at
    ORDER BY w.overdraft > 0 DESC, w.spent DESC LIMIT 1) w ON true
WHERE b.subject NOT IN ('user', 'each_user') OR w.overdraft > 0
ORDER BY w.overdraft > 0 DESC NULLS LAST, w.spent / nullif(p.amount, 0) DESC NULLS LAST, b.id LIMIT %(limit)s
"""  # noqa: S608 - put together from constants


@dataclass(frozen=True, slots=True)
class RemainingBudget:
    """A budget in its present window: US dollars or tokens. `name` is that of its user, group, agent or key, "" for
    others. `override_until`: until then the amount is another one than usual."""

    budget_id: UUID
    subject: BudgetSubject
    name: str
    unit: BudgetUnit
    period: BudgetPeriod
    amount: Decimal
    override_until: datetime | None
    warn_percent: int
    spent: Decimal
    reserved: Decimal
    overdraft: Decimal
    resets_at: datetime

    @property
    def remaining(self) -> Decimal:
        """What may still be reserved; 0 at least."""
        return max(Decimal(0), self.amount - self.spent - self.reserved)

    @property
    def unspent(self) -> Decimal:
        """What is not spent; what is only reserved may come back."""
        return max(Decimal(0), self.amount - self.spent)

    @property
    def used_percent(self) -> int:
        """How much is spent, in whole percent; more than 100 where more was billed than a call had reserved."""
        if not self.amount:
            return 100
        return int(self.spent * 100 / self.amount)

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left, even if all that is reserved came back."""
        return self.spent >= self.amount

    @property
    def is_low(self) -> bool:
        """Whether so much is spent that people are warned."""
        return 0 < self.warn_percent <= self.used_percent

    @property
    def is_shared(self) -> bool:
        """Whether it is not that of single users."""
        return self.subject not in (BudgetSubject.USER, BudgetSubject.EACH_USER)

    @property
    def is_own(self) -> bool:
        """Whether the person whose calls draw on it may know its amounts."""
        return self.subject in OWN_SUBJECTS


def remaining_budgets(
    *,
    user_id: int,
    key_id: UUID | None = None,
    agent_id: UUID | None = None,
    all_keys: bool = False,
    all_agents: bool = False,
) -> list[RemainingBudget]:
    """The budgets that calls of this user draw on, with this API key and by this agent if they are given; or with all
    keys of the user, and by all agents that the user may ask. One query."""
    values = {"user": user_id, "key": key_id, "agent": agent_id, "all_keys": all_keys, "all_agents": all_agents}
    return _read(_OF_USER, values)


def all_budgets() -> list[RemainingBudget]:
    """All budgets; one for each user as the user who has used most of it has it. One query."""
    return _read(_ALL, {})


def shared_budgets(*, limit: int) -> list[RemainingBudget]:
    """The budgets that are not those of single users, and of these the overdrawn ones: overdrawn ones first, then those
    of which most is spent. One query."""
    return _read(_SHARED, {"limit": limit})


def _read(statement: str, values: dict[str, Any]) -> list[RemainingBudget]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        rows = cursor.fetchall()
    return [
        RemainingBudget(row[0], BudgetSubject(row[1]), row[2], BudgetUnit(row[3]), BudgetPeriod(row[4]), *row[5:])
        for row in rows
    ]
