"""Budgets that are changed while calls draw on them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from accounts.actor import Actor
from agents.budgets.budget_changes import BudgetTarget, delete_budget, set_budget
from agents.budgets.reservations import Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from tests.support.budgets import budget_request
from tests.support.conversations import side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_neither_fails_when_a_budget_is_deleted_and_calls_begin_windows_of_it() -> None:
    """A deletion has the budget and wants its windows, a call has a window and looks at the budget."""
    system = Actor.system("tests")
    each_user = BudgetTarget(BudgetSubject.EACH_USER)

    def change() -> None:
        for number in range(20):
            budget = set_budget(
                system, each_user, unit=BudgetUnit.USD, period=BudgetPeriod.DAY, amount=Decimal(number + 1000)
            )
            if number % 2:
                delete_budget(system, budget.pk)

    def call() -> None:
        for number in range(60):
            [reply] = settle_and_reserve([budget_request(number % 7)]).replies
            if isinstance(reply, Reserved) and reply.id is not None:
                report_usage(reply.id, usd=Decimal(1), tokens=10)

    assert side_by_side(change, call, call) == [None, None, None]
