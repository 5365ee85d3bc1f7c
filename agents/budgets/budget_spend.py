"""What was spent of one budget: by window, and by user in the present window."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import connection
from django.db.models import Count, Sum
from django.db.models.functions import Now

from accounts.models import User
from agents.domain.budgets import BudgetPeriod, BudgetSubject
from agents.models import Budget
from foundation.clock import now

# So many of the ledger's newest rows are looked through for who spent most of what several people share: the ledger has
# no index by window, since every call would have to write it.
COUNTED_CALLS: Final = 20_000

# As long as each is at most.
_LENGTHS: Final = {
    BudgetPeriod.HOUR: timedelta(hours=1),
    BudgetPeriod.DAY: timedelta(days=1),
    BudgetPeriod.WEEK: timedelta(days=7),
    BudgetPeriod.MONTH: timedelta(days=31),
}
_SHARED_SUBJECTS: Final = frozenset({BudgetSubject.EVERYBODY, BudgetSubject.GROUP, BudgetSubject.AGENT})
_BY_USER: Final = """
SELECT r.user_id, sum(CASE w.unit WHEN 'usd' THEN r.settled_usd ELSE r.settled_tokens END) AS spent
FROM (SELECT * FROM agents_budgetreservation ORDER BY id DESC LIMIT %(calls)s) r
JOIN agents_budgetwindow w ON w.id = ANY(r.windows)
WHERE w.budget_id = %(budget)s AND w.starts_at <= now() AND w.ends_at > now() AND r.settled_at IS NOT NULL
GROUP BY 1 HAVING sum(CASE w.unit WHEN 'usd' THEN r.settled_usd ELSE r.settled_tokens END) > 0
ORDER BY 2 DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class WindowTotals:
    """What all users together have spent in the windows that begin at one time: US dollars or tokens."""

    starts_at: datetime
    users: int
    spent: Decimal
    reserved: Decimal
    overdraft: Decimal


def window_totals(budget: Budget, *, limit: int) -> list[WindowTotals]:
    """The newest windows first; of a budget for each user those of the last `limit` periods. One query."""
    rows = budget.windows.all()
    if budget.subject == BudgetSubject.EACH_USER:
        # A window for each of many users: their ends have an index.
        rows = rows.filter(ends_at__gt=now() - limit * _LENGTHS[BudgetPeriod(budget.period)])
    sums = (
        rows.order_by("-starts_at")
        .values_list("starts_at")
        .annotate(Count("pk"), Sum("spent"), Sum("reserved"), Sum("overdraft"))
    )
    return [WindowTotals(*row) for row in sums[:limit]]


def top_users(budget: Budget, *, limit: int) -> list[tuple[str, int, Decimal]]:
    """(name, id, amount) of the users who have spent most in the present window; none for what is one person's. Of what
    several share, by the newest `COUNTED_CALLS` of all calls that drew on any budget. Two queries."""
    subject = BudgetSubject(budget.subject)
    rows: list[tuple[int, Decimal]]
    if subject is BudgetSubject.EACH_USER:
        present = budget.windows.filter(starts_at__lte=Now(), ends_at__gt=Now(), spent__gt=0).order_by("-spent")
        rows = list(present.values_list("counted_user", "spent")[:limit])
    elif subject in _SHARED_SUBJECTS:
        with connection.cursor() as cursor:
            cursor.execute(_BY_USER, {"calls": COUNTED_CALLS, "budget": budget.pk, "limit": limit})
            rows = cursor.fetchall()
    else:
        return []
    names = dict(User.objects.filter(pk__in=[user for user, _ in rows]).values_list("pk", "username"))
    return [(names.get(user, "a deleted user"), user, amount) for user, amount in rows]
