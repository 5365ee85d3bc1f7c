"""Checks of API keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from accounts.models import ApiKey
from health_checks.check import Check, Finding, Level, Link, Reader
from health_checks.run import Measurements

END_WITHIN: Final = timedelta(days=7)
# Keys that are reported individually.
KEYS: Final = 4


@dataclass(frozen=True, slots=True)
class EndingKey:
    """A recently used key that expires soon."""

    id: UUID
    name: str
    username: str
    ends_at: datetime


def ending_keys(measurements: Measurements) -> list[EndingKey]:
    """Up to `KEYS` keys that were used within the past week and expire within the next, soonest first."""
    at = measurements.now
    keys = ApiKey.objects.filter(revoked_at__isnull=True, expires_at__gt=at, expires_at__lt=at + END_WITHIN)
    used = keys.filter(last_used_at__gt=at - END_WITHIN).select_related("user").order_by("expires_at")
    return [EndingKey(key.pk, str(key), str(key.user), key.expires_at) for key in used[:KEYS] if key.expires_at]


def evaluate_keys(keys: Sequence[EndingKey]) -> Sequence[Finding]:
    return [
        Finding(
            Level.WARN,
            f"The key {key.name} of {key.username} ends on {key.ends_at:%Y-%m-%d}",
            link=Link("admin:accounts_apikey_change", (key.id,)),
        )
        for key in keys
    ]


CHECKS: Final = (
    Check(
        name="ending_keys",
        title="API keys",
        measure=ending_keys,
        evaluator=evaluate_keys,
        alarms_when="API keys that a program uses and that end within a week",
        remedy="A program uses it: make a new key, put it in, revoke this one.",
        readers=frozenset({Reader.OVERVIEW}),
        order=70,
        link=Link("admin:accounts_apikey_changelist"),
        permissions=("accounts.view_apikey",),
    ),
)
