"""Checks of budgets: how much is spent of those that people share, and of what a provider has billed too much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agents.budgets.remaining import RemainingBudget, shared_budgets
from agents.domain.budgets import BudgetUnit
from agents.permissions.role_permissions import VIEW_BUDGET
from console.formatting import NOTHING, format_count, format_money
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements

# Budgets that are read, those first of which most is spent; problems that are listed.
MAX_READ: Final = 50
MAX_LISTED: Final = 5
_RAISE: Final = (
    "See in Usage what it was spent on. An owner raises it, or overrides it until a day; else its calls are refused "
    "until its period ends."
)
_OVERDRAWN: Final = (
    "A provider has billed more than the call's bound. Its ledger names the call. Lower the release's limit of tokens, "
    "or enter the model's right price."
)


def read_shared_budgets(measurements: Measurements) -> list[RemainingBudget]:  # noqa: ARG001
    """The budgets that several people share, and others that a call has overdrawn. One statement."""
    return shared_budgets(limit=MAX_READ)


def evaluate_spend(budgets: Sequence[RemainingBudget]) -> Sequence[Finding]:
    """The budget of which most is spent."""
    fullest = max((one for one in budgets if one.amount and one.is_shared), key=_share, default=None)
    if fullest is None:
        return [Finding(Level.GOOD, "there is no budget that people share", NOTHING)]
    message = f"{format_spent(fullest)}, {describe_budget(fullest)}"
    percent = float(fullest.used_percent)
    return [Finding(_level(fullest), message, f"{fullest.used_percent:,} %", percent=percent)]


def evaluate_budgets(budgets: Sequence[RemainingBudget]) -> Sequence[Finding]:
    """A finding for each budget that is used up, nearly so, or overdrawn; those of which most is spent first."""
    problems = [finding for one in sorted(budgets, key=_share, reverse=True) for finding in _problems(one)]
    problems.sort(key=lambda finding: finding.level is not Level.BAD)
    listed, more = problems[:MAX_LISTED], len(problems) - MAX_LISTED
    return [*listed, Finding(Level.WARN, f"{more:,} more budgets need a look")] if more > 0 else listed


def describe_budget(budget: RemainingBudget) -> str:
    """Whom it is for, and its period: "group sales per month"."""
    return f"{' '.join(filter(None, (budget.subject.label, budget.name)))} per {budget.period}"


def format_spent(budget: RemainingBudget) -> str:
    """What is spent, and of how much: "$12.00 of $100.00", "1,200 of 5,000 tokens"."""
    if budget.unit is BudgetUnit.TOKENS:
        return f"{format_count(int(budget.spent))} of {format_count(int(budget.amount))} tokens"
    return f"{format_money(budget.spent)} of {format_money(budget.amount)}"


def _problems(budget: RemainingBudget) -> Sequence[Finding]:
    link = Link("admin:agents_budget_change", (budget.budget_id,))
    problems = []
    level = _level(budget)
    if budget.is_shared and budget.amount and level is not Level.GOOD:
        state = "used up" if level is Level.BAD else f"{budget.used_percent} % spent"
        problems.append(
            Finding(
                level,
                f"The budget of {describe_budget(budget)} is {state}: {format_spent(budget)}; it begins anew at "
                f"{budget.resets_at:%Y-%m-%d %H:%M} UTC",
                remedy=_RAISE,
                link=link,
            )
        )
    if budget.overdraft:
        problems.append(
            Finding(Level.BAD, f"The budget of {describe_budget(budget)} is overdrawn", remedy=_OVERDRAWN, link=link)
        )
    return problems


def _level(budget: RemainingBudget) -> Level:
    return Level.BAD if budget.is_exhausted else Level.WARN if budget.is_low else Level.GOOD


def _share(budget: RemainingBudget) -> float:
    return float(budget.spent / budget.amount) if budget.amount else 0.0


CHECKS: Final[tuple[Check[Any], ...]] = (
    Check(
        name="spend",
        title="Spend against budget",
        measure=read_shared_budgets,
        evaluator=evaluate_spend,
        alarms_when="as much is spent of a budget that people share as its users are warned at; red when it is used up",
        remedy=_RAISE,
        readers=frozenset({Reader.OVERVIEW}),
        order=136,
        link=Link("admin:agents_budget_changelist"),
        permissions=(VIEW_BUDGET,),
        is_metric=True,
        detailed_by="budgets",
    ),
    Check(
        name="budgets",
        title="Budgets",
        measure=read_shared_budgets,
        evaluator=evaluate_budgets,
        alarms_when="a budget that people share is used up or nearly so, or a call has overdrawn a budget",
        remedy=_RAISE,
        readers=frozenset({Reader.OVERVIEW}),
        order=138,
        link=Link("admin:agents_budget_changelist"),
        permissions=(VIEW_BUDGET,),
    ),
)
