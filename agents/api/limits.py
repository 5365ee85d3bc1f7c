"""What remains of the limits and budgets of a user."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from accounts.models import ApiKey
from agents.budgets.remaining import RemainingBudget, remaining_budgets
from agents.models import ConnectionSlot, Turn
from ratelimits.limiter import hourly_message_limit, message_limits, remaining, request_limits, storage_limit
from ratelimits.rates import Remaining


@dataclass(frozen=True, slots=True)
class ConcurrencyUse:
    """The use of a concurrency limit; `limit` is None where there is none."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class RemainingLimits:
    """The state of all limits of a user; `concurrency` is by name."""

    rates: list[Remaining]
    concurrency: dict[str, ConcurrencyUse]
    budgets: list[RemainingBudget]


def remaining_limits(*, user_id: int, key_id: UUID | None) -> RemainingLimits:
    """The limits of the account and of the API key, in at most five queries. Rates without a limit are omitted.

    An API key has connections of its own; without one they are those of the user's logins.
    """
    running = Turn.objects.filter(user_id=user_id, lease_expires_at__isnull=False).count()
    config = settings.BANDSTAND
    return RemainingLimits(
        rates=remaining(
            [
                *request_limits(user_id=user_id, key_id=key_id),
                *message_limits(user_id=user_id, key_id=key_id),
                hourly_message_limit(user_id=user_id),
                storage_limit(user_id=user_id),
            ]
        ),
        concurrency={
            "running_turns": ConcurrencyUse(config.running_turns_per_user, running),
            "connections": ConcurrencyUse(
                _connections_limit(key_id) or None, ConnectionSlot.objects.of_holder(user_id, key_id).count()
            ),
        },
        budgets=remaining_budgets(user_id=user_id, key_id=key_id, all_agents=True),
    )


def _connections_limit(key_id: UUID | None) -> int:
    if key_id is None:
        return int(settings.BANDSTAND.connections_per_user)
    return ApiKey.objects.filter(pk=key_id).values_list("connections", flat=True).first() or 0
