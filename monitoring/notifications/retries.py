"""What follows a failed attempt. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from monitoring.notifications.message import DeliveryOutcome

# Before the second and further attempts. After the first `WITH_FALLBACK` of them the fallback has its turn, if there is
# one: somebody is to hear of it within minutes.
RETRY_DELAYS: Final = tuple(timedelta(seconds=seconds) for seconds in (10, 30, 120, 300, 900, 1_800, 3_600))
WITH_FALLBACK: Final = 3
# What a receiver wants is respected, but not for hours.
MAX_DELAY: Final = timedelta(minutes=15)
# How long a channel gets nothing after a failure that may pass.
MIN_REST: Final = timedelta(seconds=10)
MAX_REST: Final = timedelta(minutes=1)
# Of the permanent errors: those that the next message would meet as well.
_CHANNEL_STATUSES: Final = frozenset({401, 403, 404, 410})


def retry_delay(outcome: DeliveryOutcome, *, attempts: int, has_fallback: bool) -> timedelta | None:
    """How long after the `attempts`th attempt, which failed with `outcome`, there is another one; None: there is none,
    and the fallback replaces it, if there is one."""
    limit = WITH_FALLBACK if has_fallback else len(RETRY_DELAYS)
    if outcome.is_permanent or attempts > limit:
        return None
    delay = RETRY_DELAYS[attempts - 1]
    if outcome.retry_seconds is not None:
        delay = max(delay, min(timedelta(seconds=outcome.retry_seconds), MAX_DELAY))
    return delay


def rest_time(outcome: DeliveryOutcome) -> timedelta:
    """How long a channel rests after an attempt."""
    if outcome.succeeded or outcome.is_permanent:
        return timedelta(0)
    return min(max(timedelta(seconds=outcome.retry_seconds or 0), MIN_REST), MAX_REST)


def concerns_channel(outcome: DeliveryOutcome) -> bool:
    """Whether an attempt failed because of its channel, and not of its message."""
    return not outcome.is_permanent or outcome.status_code in _CHANNEL_STATUSES
