"""Budgets in the console, as owners set them and others read them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.actor import Actor
from accounts.roles import Role
from agents.budgets.budget_changes import BudgetTarget, override_budget, set_budget
from agents.budgets.reservations import Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Budget
from foundation.clock import now
from tests.support.budgets import budget_request
from tests.support.consoles import client_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db

LIST = "/admin/agents/budget/"
ADD = f"{LIST}add/"
NEW = {"subject": "user", "name": "ada", "unit": "usd", "period": "day", "amount": "5", "warn_percent": "80"}


def test_an_owner_adds_changes_overrides_and_deletes_a_budget() -> None:
    person("ada")
    olga = client_of("olga", Role.OWNER)
    response = olga.post(ADD, NEW, follow=True)
    assert "The budget for user ada is saved" in response.text
    budget = Budget.objects.get()
    assert (budget.subject, budget.amount, budget.period) == ("user", Decimal(5), "day")
    page = f"{LIST}{budget.pk}/change/"
    again = olga.post(ADD, NEW)
    assert "There is such a budget already" in again.text
    form = olga.get(page).context["form"]
    changed = {"amount": "7.5", "warn_percent": "0", "version": form.initial["version"], "base": form.initial["base"]}
    olga.post(page, changed)
    budget.refresh_from_db()
    assert (budget.amount, budget.warn_percent) == (Decimal("7.5"), 0)
    assert "somebody else changed this" in olga.post(page, {**changed, "amount": "8"}).text
    assert "for the window that runs" in olga.get(f"{LIST}{budget.pk}/override/").text
    wanted = {"confirm": "1", "amount": "70", "seconds": "3600", "reason": "a launch"}
    assert "a launch" in olga.post(f"{LIST}{budget.pk}/override/", wanted, follow=True).text
    olga.post(f"{LIST}{budget.pk}/end-override/", {"confirm": "1"})
    budget.refresh_from_db()
    assert budget.override_until is None
    olga.post(f"{LIST}{budget.pk}/remove/", {"confirm": "1"})
    assert not Budget.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("name", "nobody", "There is no user called"),
        ("name", "", "Which user?"),
        ("amount", "-1", "greater than or equal to 0"),
        ("amount", "NaN", "Enter a number"),
        ("amount", "1e30", "An amount from 0"),
        ("warn_percent", "101", "less than or equal to 100"),
        ("subject", "everybody", "Leave this empty"),
        ("subject", "moon", "Select a valid choice"),
    ],
)
def test_what_is_no_budget_is_refused_at_its_field(field: str, value: str, words: str) -> None:
    person("ada")
    response = client_of("olga", Role.OWNER).post(ADD, {**NEW, field: value})
    assert words in response.text
    assert not Budget.objects.exists()


def test_others_see_what_is_spent_and_change_nothing() -> None:
    ada, system = person("ada"), Actor.system("tests")
    each_user = BudgetTarget(BudgetSubject.EACH_USER)
    budget = set_budget(system, each_user, unit=BudgetUnit.USD, period=BudgetPeriod.DAY, amount=Decimal(4))
    override_budget(system, budget.pk, amount=Decimal(5), until=now() + timedelta(hours=1), reason="a launch")
    [reply] = settle_and_reserve([budget_request(ada.pk)]).replies
    assert isinstance(reply, Reserved)
    assert reply.id is not None
    report_usage(reply.id, usd=Decimal("1.25"), tokens=10)
    settle_and_reserve([budget_request(ada.pk)])
    vera = client_of("vera", Role.VIEWER)
    row = vera.get(LIST).text
    for words in ("each user", "$5.00", "$1.25", "$2.00", "$1.75", "overridden"):
        assert words in row
    page = vera.get(f"{LIST}{budget.pk}/change/").text
    assert "Owners change budgets." in page
    assert "Who has spent most of it now" in page
    assert vera.get(ADD).status_code == 403
    for action in ("override", "end-override", "remove"):
        assert vera.post(f"{LIST}{budget.pk}/{action}/", {"confirm": "1"}).status_code == 403


def test_the_page_of_what_several_share_says_who_spent_most() -> None:
    ada, bob, system = person("ada"), person("bob"), Actor.system("tests")
    everybody = BudgetTarget(BudgetSubject.EVERYBODY)
    budget = set_budget(system, everybody, unit=BudgetUnit.TOKENS, period=BudgetPeriod.MONTH, amount=Decimal(10_000))
    requests = [budget_request(ada.pk), budget_request(bob.pk), budget_request(bob.pk)]
    for reply in settle_and_reserve(requests).replies:
        assert isinstance(reply, Reserved)
        assert reply.id is not None
        report_usage(reply.id, usd=None, tokens=100)
    settle_and_reserve()
    page = client_of("olga", Role.OWNER).get(f"{LIST}{budget.pk}/change/")
    assert [(name, spent) for name, _, spent in page.context["users"]] == [("bob", "200 tokens"), ("ada", "100 tokens")]
    assert [amounts for _, amounts in page.context["windows"]] == ["spent 300 tokens"]


@pytest.mark.parametrize("name", ["helper", "Helper"])
def test_an_agent_is_named_by_its_slug_or_its_name(name: str) -> None:
    helper = agent("helper")
    olga = client_of("olga", Role.OWNER)
    page = olga.get(ADD)
    assert ("helper", "agent Helper") in list(page.context["form"].suggestions())
    olga.post(ADD, {**NEW, "subject": "agent", "name": name, "unit": "tokens", "amount": "1000000"})
    assert Budget.objects.get().agent == helper
    assert "1,000,000 tokens per day" in olga.get(LIST).text
