"""What a user has left of everything that is limited."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from agents.models import SocketSlot, Turn
from ratelimits.limiter import message_limits, remaining, request_limits
from ratelimits.rates import Remaining


@dataclass(frozen=True, slots=True)
class ConcurrencyUse:
    """How much of a concurrency limit is in use; `limit` None: there is none."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class RemainingLimits:
    rates: list[Remaining]
    concurrency: dict[str, ConcurrencyUse]


def remaining_limits(*, user_id: int, key_id: UUID | None) -> RemainingLimits:
    """Of the account, and of the key it came with: three queries. Rates without a limit are left out."""
    running = Turn.objects.filter(user_id=user_id, lease_expires_at__isnull=False).count()
    config = settings.BANDSTAND
    return RemainingLimits(
        rates=remaining(
            [*request_limits(user_id=user_id, key_id=key_id), *message_limits(user_id=user_id, key_id=key_id)]
        ),
        concurrency={
            "running_turns": ConcurrencyUse(config.running_turns_per_user, running),
            "sockets": ConcurrencyUse(config.sockets_per_user or None, SocketSlot.objects.for_user(user_id).count()),
        },
    )
