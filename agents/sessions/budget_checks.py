"""Refuse a message at once for whose answer nothing is left of a budget.

What is known of used-up budgets is in memory, so that messages of all others cost nothing more. It is the ledger that
decides about each call; here only what it would refuse in any case is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings

from agents.budgets.exhausted_budgets import ExhaustedBudget, exhausted_budgets
from agents.domain.budgets import FREE_CALL, BudgetUnit, describe_exhausted
from agents.domain.configuration import AgentConfiguration
from agents.domain.usage import costs_nothing
from agents.journal.admission import NewTurn
from agents.llm.gateway import GatewayConfig, open_prices
from agents.llm.model_catalog import Prices
from agents.llm.stored_prices import StoredPrices
from agents.models import AgentSession
from agents.sessions.errors import BudgetExhausted
from foundation.clock import now


def find_exhausted_budget(new: NewTurn) -> ExhaustedBudget | None:
    """The budget that leaves nothing for the answer to `new`, of several the one that begins anew last; None where
    something can answer. At most two queries if a budget is used up that may concern it, else none."""
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
    dollars = [budget for budget in budgets if budget.unit is BudgetUnit.USD]
    if dollars and _has_free_route(release.model_chain):
        budgets = [budget for budget in budgets if budget.unit is BudgetUnit.TOKENS]
    return max(budgets, key=lambda budget: budget.resets_at, default=None)


def _has_free_route(routes: Sequence[str]) -> bool:
    """Whether calls of one of `routes` are known to cost nothing, at the prices that the ledger counts by."""
    if any(costs_nothing(route) for route in routes):
        return True
    entered = StoredPrices()
    entered.load()
    config = settings.BANDSTAND
    prices = open_prices(GatewayConfig(openai_base_url=config.openai_base_url, prices=config.prices), entered)
    return any(_is_free(prices, route) for route in routes)


def _is_free(prices: Prices, route: str) -> bool:
    provider, _, model = route.partition(":")
    priced = prices.find(provider=provider, model=model)
    return priced is not None and priced[1].call_price() == FREE_CALL
