"""What people see of the budgets that their messages draw on."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import ALL_SCOPES, Actor
from accounts.api_keys import create_api_key
from agents.budgets.remaining import RemainingBudget, remaining_budgets
from agents.models import Budget
from agents.pages.budget_section import build_budget_section, quota_warning
from tests.support.budgets import book_spend
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


def budget(subject: str, amount: int = 10, **more: object) -> Budget:
    return Budget.objects.create(subject=subject, **{"unit": "usd", "period": "month", "amount": amount, **more})


def shown(budgets: list[RemainingBudget]) -> list[tuple[str, str, Decimal | None, int, bool, bool]]:
    return [
        (one.subject, one.name, one.unspent if one.is_own else None, one.used_percent, one.is_low, one.is_exhausted)
        for one in budgets
    ]


def test_amounts_are_shown_of_ones_own_budgets_and_shares_of_all_others() -> None:
    ada, bob = person("ada"), person("bob")
    authors, staff = Group.objects.create(name="authors"), Group.objects.create(name="staff")
    ada.groups.add(authors)
    key, _ = create_api_key(Actor.system("tests"), user=ada, name="report", scopes=ALL_SCOPES, expires_at=None)
    book_spend(budget("everybody"), "8.5")
    book_spend(budget("user", user=ada), 3)
    book_spend(budget("group", group=authors), 12)
    book_spend(budget("agent", agent=agent("demo")), 1)
    book_spend(budget("key", api_key=key), 10)
    budget("user", user=bob)
    budget("group", group=staff)
    budget("agent", agent=agent("secret", groups=[staff]))
    shared = [
        ("group", "authors", None, 120, True, True),
        ("agent", "Demo", None, 10, False, False),
        ("everybody", "", None, 85, True, False),
    ]
    with CaptureQueriesContext(connection) as queries:
        mine = remaining_budgets(user_id=ada.pk, all_agents=True)
    assert len(queries) == 1
    assert shown(mine) == [("user", "ada", Decimal(7), 30, False, False), *shared]
    with_key = remaining_budgets(user_id=ada.pk, key_id=key.pk, all_agents=True)
    assert shown(with_key) == [shown(mine)[0], ("key", "report", Decimal(0), 100, True, True), *shared]
    assert remaining_budgets(user_id=ada.pk, all_keys=True, all_agents=True) == with_key
    assert [one[0] for one in shown(remaining_budgets(user_id=bob.pk, all_agents=True))] == [
        "user",
        "agent",
        "everybody",
    ]


def test_a_budget_for_each_user_is_ones_own_until_one_has_another() -> None:
    ada, bob = person("ada"), person("bob")
    each = budget("each_user", 100, unit="tokens", period="day")
    book_spend(each, 25, user_id=ada.pk)
    book_spend(each, 60, user_id=bob.pk)
    [line] = build_budget_section(ada.pk) or []
    assert (line.name, line.period, line.left) == ("Your budget", "each day", "75 of 100 tokens left")
    assert quota_warning(ada.pk) is None
    budget("user", 0, unit="tokens", period="day", user=ada)
    [own] = remaining_budgets(user_id=ada.pk)
    assert (own.subject, own.used_percent, own.is_exhausted) == ("user", 100, True)
    assert (quota_warning(ada.pk) or {})["used_percent"] == 100
    assert build_budget_section(person("cyd").pk)
    Budget.objects.all().delete()
    assert build_budget_section(ada.pk) is None
