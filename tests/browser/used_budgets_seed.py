"""People with budgets of tokens, which count the offline model, too: of one much is used, of one nearly all, of one
all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import connection

from accounts.actor import Actor
from accounts.models import User
from accounts.roles import Role
from agents.budgets.budget_changes import BudgetTarget, set_budget
from agents.budgets.reservations import BUDGETS_CHANNEL
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from tests.support.budgets import book_spend
from tests.support.people import person
from tests.support.sockets import login_of

SPENT = {"fred": 850_000, "gina": 1_000_000, "hugo": 999_990}


def main() -> dict[str, Any]:
    """`{people}`: fred, gina and hugo."""
    people: list[User] = []
    for name, spent in SPENT.items():
        user = person(name, Role.USER)
        budget = set_budget(
            Actor.system("browser tests"),
            BudgetTarget(BudgetSubject.USER, user_id=user.pk),
            unit=BudgetUnit.TOKENS,
            period=BudgetPeriod.MONTH,
            amount=Decimal(1_000_000),
        )
        book_spend(budget, spent)
        people.append(user)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [BUDGETS_CHANNEL])
    return {"people": {user.username: {"login": login_of(user), "id": user.pk} for user in people}}
