"""The limits of the caller."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.actor import Scope
from agents.api.limits import RemainingLimits, remaining_limits
from agents.budgets.remaining import RemainingBudget
from agents.domain.budgets import BudgetUnit
from agents.domain.serialization import moment
from agents.domain.usage import format_usd
from foundation.clock import now
from foundation.errors import Unauthenticated
from ratelimits.rates import Remaining
from rest.query_params import read_query
from rest.responses import json_response
from rest.views import ApiView


class LimitsView(ApiView):
    """`/api/v1/me/limits`."""

    def get(self, _request: Request) -> HttpResponse:
        read_query(self.http)
        actor = self.who()
        actor.require_scope(Scope.READ)
        if actor.user_id is None:
            raise Unauthenticated
        return json_response(serialize_limits(remaining_limits(user_id=actor.user_id, key_id=actor.key_id)))


def serialize_limits(limits: RemainingLimits) -> dict[str, Any]:
    """`rates` by name, `concurrency` by name; `spend` has the budgets, and is null where there is none."""
    return {
        "rates": {remaining.rate.name.replace("-", "_"): _rate(remaining) for remaining in limits.rates},
        "concurrency": {name: {"limit": use.limit, "used": use.used} for name, use in limits.concurrency.items()},
        "spend": [_budget(budget) for budget in limits.budgets] or None,
    }


def _budget(budget: RemainingBudget) -> dict[str, Any]:
    return {
        "budget": str(budget.budget_id),
        "subject": budget.subject.value,
        "name": budget.name,
        "unit": budget.unit.value,
        "per": budget.period.value,
        "limit": _amount(budget.unit, budget.amount) if budget.is_own else None,
        "remaining": _amount(budget.unit, budget.unspent) if budget.is_own else None,
        "used_percent": budget.used_percent,
        "resets_at": moment(budget.resets_at),
    }


def _amount(unit: BudgetUnit, amount: Decimal) -> str | int | None:
    return format_usd(amount) if unit is BudgetUnit.USD else int(amount)


def _rate(remaining: Remaining) -> dict[str, Any]:
    return {
        "limit": remaining.rate.limit,
        "per_seconds": round(remaining.rate.period_seconds),
        "remaining": remaining.tokens,
        "resets_at": moment(now() + timedelta(seconds=remaining.full_in_seconds)),
    }
