"""Calls that draw on budgets, for tests."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from agents.budgets.reservations import BudgetRequest
from agents.domain.budgets import CallPrice

A_CENT_PER_TOKEN = CallPrice(Decimal(10_000), Decimal(10_000))


def budget_request(user_id: int = 0, **changes: object) -> BudgetRequest:
    """A call that costs 2 dollars at most: 100 bytes of input, 100 tokens of output, a cent each. It reports its usage
    with `report_usage`."""
    request = BudgetRequest(
        user_id=user_id,
        agent_id=None,
        route="openai:fake",
        price=A_CENT_PER_TOKEN,
        estimated_tokens=50,
        bytes=100,
        output_tokens=100,
        purpose="embeddings",
    )
    return replace(request, **changes)  # type: ignore[arg-type]
