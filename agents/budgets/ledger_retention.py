"""How long the ledger and the windows of budgets are kept."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from agents.budgets.reconciliation import REACH
from foundation.batches import work_in_batches
from foundation.clock import now

# Of reservations, after their settlement and after the end of all their windows: longer than any window lasts, and
# than the reconciliation reaches back.
LEDGER_RETENTION: Final = timedelta(days=90)
# Of windows: what was spent of a budget in each period of the past year.
WINDOW_RETENTION: Final = timedelta(days=400)
PURGE_SECONDS: Final = 40
PURGE_BATCH: Final = 10_000

assert REACH + timedelta(days=31) < LEDGER_RETENTION

_PURGE_LEDGER: Final = """
WITH old AS (
    SELECT r.id FROM agents_budgetreservation r
    WHERE r.settled_at < %(before)s
      AND NOT EXISTS (SELECT FROM agents_budgetwindow v
                      WHERE v.id = ANY(r.windows) AND v.ends_at > %(before)s)
    ORDER BY r.settled_at LIMIT %(limit)s
)
DELETE FROM agents_budgetreservation r USING old WHERE r.id = old.id
"""
_PURGE_WINDOWS: Final = "DELETE FROM agents_budgetwindow WHERE ends_at < %(before)s"
_PURGE_DIFFERENCES: Final = "DELETE FROM agents_budgetdifference WHERE reviewed_at < %(before)s"


def purge_ledger() -> int:
    """Delete reservations that were settled 90 days ago and whose windows ended then, windows that ended 400 days ago,
    and differences that were reviewed 400 days ago, for at most 40 seconds; return the number of reservations."""

    at = now()

    def purge(_remaining: float) -> int:
        return _execute(_PURGE_LEDGER, before=at - LEDGER_RETENTION, limit=PURGE_BATCH)

    deleted = work_in_batches(purge, seconds=PURGE_SECONDS, full=PURGE_BATCH)
    _execute(_PURGE_WINDOWS, before=at - WINDOW_RETENTION)
    _execute(_PURGE_DIFFERENCES, before=at - WINDOW_RETENTION)
    return deleted


def _execute(statement: str, **values: datetime | int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return int(cursor.rowcount)
