"""Refuse a message at once for whose answer nothing is left of a budget.

What is known of used-up budgets is in memory, so that messages of all others cost nothing more. It is the ledger that
decides about each call; here only what it would refuse in any case is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from agents.budgets.exhausted_budgets import ExhaustedBudget, exhausted_budgets
from agents.domain.budgets import BudgetUnit, describe_exhausted
from agents.domain.configuration import AgentConfiguration
from agents.journal.admission import NewTurn
from agents.llm.routes import may_be_free
from agents.models import AgentSession
from agents.sessions.errors import BudgetExhausted
from foundation.clock import now


def find_exhausted_budget(new: NewTurn) -> ExhaustedBudget | None:
    """The budget that leaves nothing for the answer to `new`, of several the one that begins anew last; None where
    something can answer. One query if a budget is used up that may concern it."""
    budgets = exhausted_budgets.find(user_id=new.user_id, key_id=new.api_key_id, at=now())
    if not budgets:
        return None
    sessions = AgentSession.objects.filter(pk=new.session_id, user_id=new.user_id)
    session = sessions.values_list("agent_id", "controller", "release__configuration").first()
    if session is None:
        return None  # the admission says why
    agent_id, controller, configuration = session
    if controller == AgentSession.Controller.HUMAN:
        return None
    return _find_decisive([budget for budget in budgets if budget.agent_id in (None, agent_id)], configuration)


def exhausted_error(budget: ExhaustedBudget) -> BudgetExhausted:
    """The error for a message that `budget` leaves nothing for."""
    seconds = max(1.0, (budget.resets_at - now()).total_seconds())
    return BudgetExhausted(
        describe_exhausted(budget.resets_at, budget.subject),
        retry_after_seconds=round(seconds, 3),
        resets_at=budget.resets_at,
    )


def _find_decisive(budgets: Sequence[ExhaustedBudget], configuration: Any) -> ExhaustedBudget | None:
    release = AgentConfiguration.parse(configuration)
    if not budgets or release.fallbacks.order:
        # Something else than a model may stand in for the answer.
        return None
    free_routes = {
        route for route, rates in settings.BANDSTAND.prices.items() if not (rates.input or rates.output or rates.cached)
    }
    if any(may_be_free(route, free_routes=free_routes) for route in release.model_chain):
        budgets = [budget for budget in budgets if budget.unit is BudgetUnit.TOKENS]
    return max(budgets, key=lambda budget: budget.resets_at, default=None)
