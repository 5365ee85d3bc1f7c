"""Budgets of everybody, a user and an agent, with what was spent of them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts.actor import Actor
from agents.budgets.budget_changes import BudgetTarget, override_budget, set_budget
from agents.budgets.reservations import Reserved, report_usage, settle_and_reserve
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.models import Agent, Budget
from foundation.clock import now
from tests.support.budgets import budget_request
from tests.support.people import person


def main() -> dict[str, Any]:
    """`{budget, own_budget, agent_budget}`: the ids of a budget for each user, of one user's, which is used up, and of
    an agent's, which is overridden and overdrawn."""
    seed = Actor.system("seed")
    ada, bob, cem, dan = (person(name).pk for name in ("ruth", "sam", "tara", "uri"))
    # Nothing here may stop the turns of others' tests.
    agent = Agent.objects.get(slug="rental-contracts")
    own = _set(seed, BudgetTarget(BudgetSubject.USER, user_id=cem), BudgetPeriod.WEEK, "4")
    each = _set(seed, BudgetTarget(BudgetSubject.EACH_USER), BudgetPeriod.DAY, "5")
    _set(seed, BudgetTarget(BudgetSubject.USER, user_id=dan), BudgetPeriod.DAY, "100")
    of_agent = _set(seed, BudgetTarget(BudgetSubject.AGENT, agent_id=agent.pk), BudgetPeriod.MONTH, "20")
    set_budget(
        seed, BudgetTarget(BudgetSubject.EVERYBODY), unit=BudgetUnit.TOKENS, period=BudgetPeriod.MONTH,
        amount=Decimal(2_000_000_000),
    )  # fmt: skip
    override_budget(seed, of_agent.pk, amount=Decimal(40), until=now() + timedelta(days=1), reason="The fair in Basel")
    for user, usd in ((ada, "1.25"), (bob, "0.4"), (cem, "2"), (cem, "2"), (ada, "2"), (ada, "1.1")):
        _spend(user, usd, agent_id=None)
    for _ in range(9):
        _spend(dan, "1.93", agent_id=agent.pk)
    _spend(dan, "2.2", agent_id=agent.pk)
    settle_and_reserve([budget_request(bob)])
    return {"budget": str(each.pk), "own_budget": str(own.pk), "agent_budget": str(of_agent.pk)}


def _set(actor: Actor, target: BudgetTarget, period: BudgetPeriod, amount: str) -> Budget:
    return set_budget(actor, target, unit=BudgetUnit.USD, period=period, amount=Decimal(amount))


def _spend(user: int, usd: str, **request: Any) -> None:
    [reply] = settle_and_reserve([budget_request(user, **request)]).replies
    assert isinstance(reply, Reserved)
    assert reply.id is not None
    report_usage(reply.id, usd=Decimal(usd), tokens=150)
    settle_and_reserve()
