"""How much is left of one's budgets, on the account page and above the message box of the chat."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Any

from agents.budgets.remaining import RemainingBudget, remaining_budgets
from agents.domain.budgets import BudgetSubject, BudgetUnit
from agents.domain.serialization import moment

TEMPLATE = "pages/budgets.html"

_CENT = Decimal("0.01")
_NAMES = {
    BudgetSubject.EVERYBODY: "This service",
    BudgetSubject.EACH_USER: "Your budget",
    BudgetSubject.USER: "Your budget",
    BudgetSubject.GROUP: "Your group {}",
    BudgetSubject.AGENT: "The agent {}",
    BudgetSubject.KEY: "Your API key {}",
}


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget in words, and how much of it is used, in percent, 100 at most."""

    name: str
    period: str
    left: str
    percent: int
    budget: RemainingBudget


def build_budget_section(user_id: int) -> list[BudgetLine] | None:
    """The budgets of a user, those of the user's keys among them; None where there is none."""
    budgets = remaining_budgets(user_id=user_id, all_keys=True, all_agents=True)
    return [_describe(budget) for budget in budgets] or None


def quota_warning(user_id: int) -> dict[str, Any] | None:
    """What the event `quota.warning` would say of the budget of which most is used, if users are to be warned of it."""
    low = [budget for budget in remaining_budgets(user_id=user_id, all_agents=True) if budget.is_low]
    if not low:
        return None
    budget = max(low, key=lambda budget: (budget.used_percent, budget.resets_at))
    return {
        "budget": str(budget.budget_id),
        "subject": budget.subject.value,
        "unit": budget.unit.value,
        "period": budget.period.value,
        "used_percent": min(100, budget.used_percent),
        "resets_at": moment(budget.resets_at),
    }


def _describe(budget: RemainingBudget) -> BudgetLine:
    return BudgetLine(
        _NAMES[budget.subject].format(budget.name),
        f"each {budget.period}",
        _left(budget),
        min(100, budget.used_percent),
        budget,
    )


def _left(budget: RemainingBudget) -> str:
    if not budget.is_own:
        return f"{max(0, 100 - budget.used_percent)} % left"
    if budget.unit is BudgetUnit.TOKENS:
        return f"{budget.unspent:,.0f} of {budget.amount:,.0f} tokens left"
    # Rounded down: nobody is told of a cent that is not there.
    return f"${budget.unspent.quantize(_CENT, ROUND_DOWN):,} of ${budget.amount.quantize(_CENT):,} left"
