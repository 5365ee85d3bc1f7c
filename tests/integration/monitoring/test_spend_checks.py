"""Spend against budget on the overview."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group

from accounts.roles import Role
from agents.models import Budget, BudgetWindow
from console.formatting import NOTHING
from foundation.clock import now
from health_checks.check import Finding, Level
from health_checks.registry import registry
from health_checks.run import run_checks
from tests.support.budgets import book_spend
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


def budget(spent: int, amount: int = 100, unit: str = "usd", **target: Any) -> Budget:
    row = Budget.objects.create(unit=unit, period="month", amount=amount, **target)
    book_spend(row, spent)
    return row


def findings(name: str) -> list[Finding]:
    [result] = run_checks([registry[name]], now=now(), seconds=9)
    return list(result.findings)


def test_the_figure_is_of_the_shared_budget_of_which_most_is_spent() -> None:
    [none] = findings("spend")
    assert (none.level, none.value) == (Level.GOOD, NOTHING)
    budget(99, subject="user", user=person("ada", Role.USER))
    budget(99, subject="each_user")
    budget(25, subject="everybody")
    budget(600, 1000, "tokens", subject="agent", agent=agent("demo"))
    [one] = findings("spend")
    assert (one.level, one.value, one.percent) == (Level.GOOD, "60 %", 60)
    assert one.message.startswith("600 of 1,000 tokens, agent ")
    assert findings("budgets") == []


def test_what_is_used_up_nearly_so_or_overdrawn_is_listed_with_what_to_do() -> None:
    sales = budget(100, subject="group", group=Group.objects.create(name="sales"))
    budget(85, subject="everybody")
    ada = budget(10, subject="user", user=person("ada", Role.USER))
    budget(0, 0, subject="each_user")
    BudgetWindow.objects.filter(budget=ada).update(overdraft=1)
    [used_up, overdrawn, low] = findings("budgets")
    assert used_up.message.startswith("The budget of group sales per month is used up: $100.00 of $100.00; it begins")
    assert low.message.startswith("The budget of everybody per month is 85 % spent")
    assert overdrawn.message == "The budget of user ada per month is overdrawn"
    assert [one.level for one in (used_up, overdrawn, low)] == [Level.BAD, Level.BAD, Level.WARN]
    assert used_up.link is not None
    assert used_up.link.url() == f"/admin/agents/budget/{sales.pk}/change/"
    assert all(one.remedy for one in (used_up, overdrawn, low))
    [figure] = findings("spend")
    assert (figure.level, figure.value) == (Level.BAD, "100 %")


def test_many_problems_are_summed_up() -> None:
    for number in range(7):
        budget(100, subject="group", group=Group.objects.create(name=f"group {number}"))
    listed = findings("budgets")
    assert [len(listed), listed[-1].message] == [6, "2 more budgets need a look"]
