"""Calls that draw on budgets, for tests."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from django.db import connection

from agents.budgets.budget_index import BudgetIndex
from agents.budgets.exhausted_budgets import exhausted_budgets
from agents.budgets.reservations import BudgetRequest
from agents.budgets.reserver import BudgetReserver
from agents.domain.budgets import CallPrice
from agents.engine.ports import Services
from agents.models import Budget
from foundation.db_threads import in_db_thread

A_CENT_PER_TOKEN = CallPrice(Decimal(10_000), Decimal(10_000))


def budget_request(user_id: int = 0, **changes: object) -> BudgetRequest:
    """A call that costs 2 dollars at most: 100 bytes of input, 100 tokens of output, a cent each. It reports its usage
    with `report_usage`."""
    request = BudgetRequest(
        user_id=user_id,
        agent_id=None,
        route="openai:fake",
        price=A_CENT_PER_TOKEN,
        estimated_tokens=50,
        bytes=100,
        output_tokens=100,
        purpose="embeddings",
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def spend(budget: Budget, amount: int | str, *, user_id: int = 0) -> None:
    """Book `amount` in the present window of `budget`; `user_id`: of a budget for each user."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO agents_budgetwindow (budget_id, counted_user, unit, starts_at, ends_at, spent)"
            " SELECT %(budget)s, %(user)s, %(unit)s, p.starts_at, p.starts_at + %(length)s::interval, %(spent)s"
            " FROM (SELECT date_trunc(%(period)s, now(), 'UTC') AS starts_at) p",
            {
                "budget": budget.pk,
                "user": user_id,
                "unit": budget.unit,
                "length": f"1 {budget.period}",
                "period": budget.period,
                "spent": amount,
            },
        )


async def with_budgets(services: Services) -> Services:
    """`services` as those of a runner that knows the present budgets."""
    index = BudgetIndex()

    def load() -> None:
        connection.ensure_connection()
        index.load(connection.connection)

    await in_db_thread(load)
    return replace(services, budgets=BudgetReserver(index, on_wake=lambda _: None))


def hear_of_budgets() -> None:
    """Have this process know which budgets are used up, as its listening connection would tell it."""
    connection.ensure_connection()
    exhausted_budgets.load(connection.connection)
