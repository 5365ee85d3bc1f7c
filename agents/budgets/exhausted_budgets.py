"""Which budgets are used up, as a web process knows it: a message that nothing is left for is refused at once.

The ledger alone decides what may be spent. Until a process has heard of a budget that was used up a moment ago, turns
begin and end with the ledger's refusal; and what is known here is never older than the budget's last change, so nobody
is refused for long after an owner has raised it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from agents.budgets.reservations import BUDGETS_CHANNEL, WAITING_PAYLOAD
from agents.budgets.window_sql import PRESENT_PERIOD
from agents.domain.budgets import BudgetSubject, BudgetUnit
from foundation.pg_listener import Wake

log = structlog.get_logger(__name__)

# In case that a notification was lost, or that an override has ended; sooner, if somebody may have left a group whose
# budget is used up.
_READ_AGAIN_POLLS: Final = 30
_READ_GROUPS_POLLS: Final = 5
# However often budgets are used up, they are not read more often.
_LEAST_PAUSE_SECONDS: Final = 1.0

# A budget for each user does not count for users with one of their own of the same unit and period. One that allows
# nothing is used up for all others, whether they have a window or not.
_READ: Final = f"""
SELECT b.subject, b.unit, p.ends_at, b.user_id, b.agent_id, b.api_key_id, w.counted_user, p.amount,
       CASE WHEN b.subject = 'group'
            THEN ARRAY(SELECT m.user_id FROM accounts_user_groups m WHERE m.group_id = b.group_id) END,
       CASE WHEN b.subject = 'each_user' AND p.amount = 0
            THEN ARRAY(SELECT o.user_id FROM agents_budget o
                       WHERE o.subject = 'user' AND o.unit = b.unit AND o.period = b.period) END
FROM agents_budget b
{PRESENT_PERIOD}
LEFT JOIN agents_budgetwindow w ON w.budget_id = b.id AND w.starts_at = p.starts_at
     AND (b.subject <> 'each_user' OR p.amount > 0)
WHERE coalesce(w.spent, 0) >= p.amount
  AND NOT (b.subject = 'each_user' AND EXISTS (
      SELECT FROM agents_budget o
      WHERE o.subject = 'user' AND o.user_id = w.counted_user AND o.unit = b.unit AND o.period = b.period))
"""  # noqa: S608 - put together from a constant


@dataclass(frozen=True, slots=True)
class ExhaustedBudget:
    """A budget of which nothing is left until `resets_at`; `agent_id` is set for one of an agent."""

    subject: BudgetSubject
    unit: BudgetUnit
    resets_at: datetime
    agent_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class _Scope:
    """Whose calls a budget concerns: those of `owners`, ids of users or of a key; None: all but those of `exempt`."""

    owners: frozenset[int | UUID] | None = None
    exempt: frozenset[int] = frozenset()


class ExhaustedBudgets:
    """The budgets that are used up. Whoever owns the listening connection calls `hear` after each of its wake-ups, from
    its thread."""

    channel = BUDGETS_CHANNEL

    def __init__(self) -> None:
        # Those of single users and keys by their ids, and all others.
        self._by_owner: dict[int | UUID | None, list[ExhaustedBudget]] = {}
        self._others: Sequence[tuple[_Scope, ExhaustedBudget]] = ()
        self._connection: psycopg.Connection | None = None
        self._polls = 0
        self._has_groups = False
        self._is_stale = False
        self._loaded_at = float("-inf")

    def find(self, *, user_id: int, key_id: UUID | None, at: datetime) -> list[ExhaustedBudget]:
        """Those that a message of this user, sent with this key, may draw on; of agents, those of all. From memory."""
        own = (*self._by_owner.get(user_id, ()), *self._by_owner.get(key_id, ()))
        shared = [budget for scope, budget in self._others if user_id not in scope.exempt]
        return [budget for budget in (*own, *shared) if budget.resets_at > at]

    def clear(self) -> None:
        """Forget all of them."""
        self._by_owner, self._others = {}, ()

    def hear(self, connection: psycopg.Connection, wake: Wake) -> None:
        """Read the budgets again if one may have changed or been used up."""
        if any(channel == BUDGETS_CHANNEL and payload != WAITING_PAYLOAD for channel, payload in wake.payloads):
            self._is_stale = True
        self._polls += wake.polled
        polls = _READ_GROUPS_POLLS if self._has_groups else _READ_AGAIN_POLLS
        if connection is not self._connection or (wake.polled and self._polls % polls == 0):
            self._is_stale = True
        # The next poll follows within a second.
        if self._is_stale and (wake.polled or time.monotonic() - self._loaded_at >= _LEAST_PAUSE_SECONDS):
            self.load(connection)
            self._connection = connection

    def load(self, connection: psycopg.Connection) -> None:
        """Read which budgets are used up."""
        self._is_stale, self._loaded_at = False, time.monotonic()
        try:
            rows = connection.execute(_READ.encode()).fetchall()
        except psycopg.OperationalError:
            raise
        except psycopg.Error:
            # The ledger refuses what this does not.
            log.exception("exhausted_budgets.not_loaded")
            return
        by_owner: dict[int | UUID | None, list[ExhaustedBudget]] = {}
        others: list[tuple[_Scope, ExhaustedBudget]] = []
        for scope, budget in dict.fromkeys(map(_read_row, rows)):
            if scope.owners is None:
                others.append((scope, budget))
            else:
                for owner in scope.owners:
                    by_owner.setdefault(owner, []).append(budget)
        self._by_owner, self._others = by_owner, others
        self._has_groups = any(subject == BudgetSubject.GROUP for subject, *_ in rows)


def _read_row(row: Sequence[Any]) -> tuple[_Scope, ExhaustedBudget]:
    subject, unit, ends_at, user_id, agent_id, key_id, counted_user, amount, members, exempt = row
    budget = ExhaustedBudget(BudgetSubject(subject), BudgetUnit(unit), ends_at, agent_id)
    match budget.subject:
        case BudgetSubject.USER:
            return _Scope(frozenset({user_id})), budget
        case BudgetSubject.GROUP:
            return _Scope(frozenset(members)), budget
        case BudgetSubject.KEY:
            return _Scope(frozenset({key_id})), budget
        case BudgetSubject.EACH_USER if amount > 0:
            return _Scope(frozenset({counted_user})), budget
        case BudgetSubject.EACH_USER:
            return _Scope(exempt=frozenset(exempt)), budget
        case _:
            return _Scope(), budget


# Those of this process.
exhausted_budgets = ExhaustedBudgets()
