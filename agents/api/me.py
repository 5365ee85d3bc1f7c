"""The limits of the caller."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.http import HttpResponse
from rest_framework.request import Request

from accounts.actor import Scope
from agents.api.limits import RemainingLimits, remaining_limits
from agents.domain.serialization import moment
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
    """`rates` by name, `concurrency` by name; `spend` is null until there are budgets."""
    return {
        "rates": {remaining.rate.name.replace("-", "_"): _rate(remaining) for remaining in limits.rates},
        "concurrency": {name: {"limit": use.limit, "used": use.used} for name, use in limits.concurrency.items()},
        "spend": None,
    }


def _rate(remaining: Remaining) -> dict[str, Any]:
    return {
        "limit": remaining.rate.limit,
        "per_seconds": round(remaining.rate.period_seconds),
        "remaining": remaining.tokens,
        "resets_at": moment(now() + timedelta(seconds=remaining.full_in_seconds)),
    }
