"""What owners do to budgets, and what is read of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts.actor import Actor
from accounts.models import AuditEntry
from accounts.roles import Role
from agents.budgets.budget_changes import (
    BudgetChanged,
    BudgetTarget,
    clear_override,
    delete_budget,
    override_budget,
    set_budget,
)
from agents.budgets.remaining import all_budgets, remaining_budgets
from agents.budgets.reservations import Refused, Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Budget, BudgetWindow
from foundation.clock import now
from foundation.errors import Forbidden, InvalidInput, NotFound
from tests.support.budgets import budget_request, spend
from tests.support.people import person

pytestmark = pytest.mark.django_db

EVERYBODY = BudgetTarget(BudgetSubject.EVERYBODY)
A_DAY: dict[str, Any] = {"unit": BudgetUnit.USD, "period": BudgetPeriod.DAY}


def actor_of(name: str, *roles: Role) -> Actor:
    user = person(name, *roles)
    return Actor.user(user_id=user.pk, name=name)


def test_an_owner_sets_changes_overrides_and_deletes_and_each_is_audited() -> None:
    olga = actor_of("olga", Role.OWNER)
    budget = set_budget(olga, EVERYBODY, amount=Decimal(5), **A_DAY)
    assert set_budget(olga, EVERYBODY, amount=Decimal(7), version=budget.version, **A_DAY).pk == budget.pk
    with pytest.raises(BudgetChanged):
        set_budget(olga, EVERYBODY, amount=Decimal(9), version=budget.version, **A_DAY)
    with pytest.raises(BudgetChanged):
        set_budget(olga, EVERYBODY, amount=Decimal(9), version=0, **A_DAY)
    override_budget(olga, budget.pk, amount=Decimal(50), until=now() + timedelta(hours=1), reason="a launch")
    [row] = all_budgets()
    assert (row.amount, row.remaining, row.override_until is not None) == (Decimal(50), Decimal(50), True)
    clear_override(olga, budget.pk)
    assert all_budgets()[0].amount == 7
    delete_budget(olga, budget.pk)
    assert not Budget.objects.exists()
    actions = AuditEntry.objects.filter(action__startswith="budget.").order_by("id").values_list("action", flat=True)
    assert list(actions) == [
        "budget.created", "budget.changed", "budget.overridden", "budget.override_cleared", "budget.deleted",
    ]  # fmt: skip
    assert {entry.target_name for entry in AuditEntry.objects.filter(action__startswith="budget.")} == {
        "usd per day for everybody"
    }


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR, Role.BUILDER])
def test_nobody_else_may(role: Role) -> None:
    budget = set_budget(Actor.system("tests"), EVERYBODY, amount=Decimal(5), **A_DAY)
    other = actor_of("otto", role)
    with pytest.raises(Forbidden):
        set_budget(other, EVERYBODY, amount=Decimal(6), **A_DAY)
    with pytest.raises(Forbidden):
        override_budget(other, budget.pk, amount=Decimal(6), until=now() + timedelta(hours=1), reason="why")
    with pytest.raises(Forbidden):
        clear_override(other, budget.pk)
    with pytest.raises(Forbidden):
        delete_budget(other, budget.pk)


@pytest.mark.parametrize("amount", ["NaN", "-1", "Infinity", "1e30", "1e-999999", "0.000000001"])
def test_an_amount_that_is_none_is_refused(amount: str) -> None:
    with pytest.raises(InvalidInput):
        set_budget(Actor.system("tests"), EVERYBODY, amount=Decimal(amount), **A_DAY)


def test_a_target_is_whole_and_exists() -> None:
    system, user = Actor.system("tests"), BudgetSubject.USER
    for target in (BudgetTarget(user), BudgetTarget(BudgetSubject.EVERYBODY, user_id=1), BudgetTarget(user, 1, 2)):
        with pytest.raises(InvalidInput):
            set_budget(system, target, amount=Decimal(1), **A_DAY)
    with pytest.raises(NotFound):
        set_budget(system, BudgetTarget(BudgetSubject.AGENT, agent_id=uuid4()), amount=Decimal(1), **A_DAY)
    with pytest.raises(InvalidInput):
        set_budget(system, EVERYBODY, unit=BudgetUnit.TOKENS, period=BudgetPeriod.DAY, amount=Decimal("0.5"))


def test_a_budget_of_ones_own_takes_the_place_of_the_one_for_each_user() -> None:
    ada, bob = person("ada"), person("bob")
    system = Actor.system("tests")
    set_budget(system, BudgetTarget(BudgetSubject.EACH_USER), amount=Decimal(3), **A_DAY)
    set_budget(system, BudgetTarget(BudgetSubject.USER, user_id=ada.pk), amount=Decimal(30), **A_DAY)
    assert [budget.amount for budget in remaining_budgets(user_id=ada.pk)] == [30]
    [first] = settle_and_reserve([budget_request(bob.pk)]).replies
    assert isinstance(first, Reserved)
    assert first.id is not None
    report_usage(first.id, usd=Decimal("1.5"), tokens=10)
    settle_and_reserve()
    [of_bob] = remaining_budgets(user_id=bob.pk)
    assert (of_bob.amount, of_bob.remaining) == (Decimal(3), Decimal("1.5"))
    assert (of_bob.used_percent, of_bob.is_own) == (50, True)
    assert [budget.spent for budget in all_budgets()] == [Decimal("1.5"), 0]
    # A user who was counted with all others has windows that nobody reads any more, and no call is counted twice.
    assert BudgetWindow.objects.count() == 1


def test_an_override_lets_a_call_pass_that_was_refused() -> None:
    ada, system = person("ada"), Actor.system("tests")
    budget = set_budget(system, EVERYBODY, amount=Decimal(1), **A_DAY)
    [reply] = settle_and_reserve([budget_request(ada.pk)]).replies
    assert isinstance(reply, Refused)
    override_budget(system, budget.pk, amount=Decimal(2), until=now() + timedelta(hours=1), reason="a launch")
    [reply] = settle_and_reserve([budget_request(ada.pk)]).replies
    assert isinstance(reply, Reserved)


def test_the_command_does_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    person("ada")
    call_command("budgets", "set", "--user", "ada", "--usd", "4", "--per", "day", "--warn-percent", "90")
    call_command("budgets", "set", "--user", "ada", "--usd", "5", "--per", "day")
    assert Budget.objects.get().warn_percent == 90
    call_command("budgets", "set", "--everybody", "--tokens", "1_000_000", "--per", "month")
    assert "user ada" in capsys.readouterr().out
    of_ada = ("--user", "ada", "--per", "day", "--unit", "usd")
    call_command("budgets", "override", *of_ada, "--to", "9.5", "--for", "8h", "--reason", "a launch", "--json")
    assert '"amount": "9.5' in capsys.readouterr().out
    call_command("budgets", "clear", *of_ada)
    call_command("budgets", "delete", *of_ada)
    assert "user ada" not in capsys.readouterr().out.splitlines()[-1]
    assert Budget.objects.count() == 1
    for wrong in (("--user", "nobody"), ("--key", "zzz")):
        with pytest.raises(CommandError):
            call_command("budgets", "set", *wrong, "--usd", "5", "--per", "day")
    with pytest.raises(CommandError):
        call_command("budgets", "set", "--everybody", "--usd", "a lot", "--per", "day")


def test_who_may_not_learns_nothing_of_who_there_is() -> None:
    other = actor_of("otto", Role.OPERATOR)
    with pytest.raises(Forbidden):
        set_budget(other, BudgetTarget(BudgetSubject.AGENT, agent_id=uuid4()), amount=Decimal(1), **A_DAY)


def test_people_are_warned_again_when_the_amount_is_another_one() -> None:
    system = Actor.system("tests")
    budget = spend(Decimal(8), of=Decimal(10))
    [first] = settle_and_reserve([budget_request()]).replies
    assert isinstance(first, Reserved)
    assert [warning.used_percent for warning in first.warnings] == [80]
    set_budget(system, EVERYBODY, unit=BudgetUnit.USD, period=BudgetPeriod.MONTH, amount=Decimal(16))
    [second] = settle_and_reserve([budget_request()]).replies
    assert isinstance(second, Reserved)
    assert not second.warnings
    override_budget(system, budget.pk, amount=Decimal(14), until=now() + timedelta(hours=1), reason="a launch")
    for reply in (first, second):
        assert reply.id is not None
        report_usage(reply.id, usd=Decimal(2), tokens=None)
    [third] = settle_and_reserve([budget_request()]).replies
    assert isinstance(third, Reserved)
    assert [warning.used_percent for warning in third.warnings] == [85]
