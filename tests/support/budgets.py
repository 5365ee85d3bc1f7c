"""Calls that draw on budgets, for tests."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from django.db import connection

from agents.budgets.budget_index import BudgetIndex
from agents.budgets.exhausted_budgets import exhausted_budgets
from agents.budgets.reservations import BudgetRequest, Reserved, report_usage, settle_and_reserve
from agents.budgets.reserver import BudgetReserver
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit, CallPrice
from agents.engine.ports import Services
from agents.journal.listen_connection import open_listen_connection
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


def spend(dollars: Decimal, *, of: Decimal, warn_percent: int = 80) -> Budget:
    """A budget of everybody and this month, of which so much is used."""
    budget = Budget.objects.create(
        subject=BudgetSubject.EVERYBODY,
        unit=BudgetUnit.USD,
        period=BudgetPeriod.MONTH,
        amount=of,
        warn_percent=warn_percent,
    )
    [reply] = settle_and_reserve([budget_request()]).replies
    assert isinstance(reply, Reserved)
    assert reply.id is not None
    report_usage(reply.id, usd=dollars, tokens=None)
    return budget


async def with_budgets(services: Services) -> Services:
    """`services` that reserve from the budgets that there are."""
    index = BudgetIndex()

    def load() -> None:
        with open_listen_connection() as connection:
            index.load(connection)

    await in_db_thread(load)
    return replace(services, budgets=BudgetReserver(index, on_wake=lambda _: None))


def book_spend(budget: Budget, amount: int | str, *, user_id: int = 0) -> None:
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


def hear_of_budgets() -> None:
    """Have this process know which budgets are used up, as its listening connection would tell it."""
    connection.ensure_connection()
    exhausted_budgets.load(connection.connection)
