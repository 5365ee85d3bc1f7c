"""What a user has left of everything that is limited."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.conf import settings

from agents.models import SocketSlot, Turn
from ratelimits.limiter import left_of, message_asks, request_asks
from ratelimits.rates import Left


@dataclass(frozen=True, slots=True)
class Used:
    """How much of a concurrency limit is in use; `limit` None: there is none."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class Limits:
    rates: list[Left]
    concurrency: dict[str, Used]


def limits_of(*, user_id: int, key_id: UUID | None) -> Limits:
    """Of the account, and of the key it came with: three queries. Rates without a limit are left out."""
    running = Turn.objects.filter(user_id=user_id, lease_expires_at__isnull=False).count()
    config = settings.BANDSTAND
    return Limits(
        rates=left_of([*request_asks(user_id=user_id, key_id=key_id), *message_asks(user_id=user_id, key_id=key_id)]),
        concurrency={
            "running_turns": Used(config.running_turns_per_user, running),
            "sockets": Used(config.sockets_per_user or None, SocketSlot.objects.held_by(user_id).count()),
        },
    )
