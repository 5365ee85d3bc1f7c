"""Signs of life, written by the part itself and read by others."""

from __future__ import annotations

from typing import Final

from django.db import connection
from django.db.models.functions import Now

from scheduling.models import Heartbeat

SCHEDULER: Final = "scheduler"
# It beats each minute, by a task that goes all the way through the queue; one beat may be lost and the next one late.
SCHEDULER_STALE_SECONDS: Final = 200


def record_heartbeat(name: str) -> None:
    """Note that `name` is at work now."""
    Heartbeat.objects.update_or_create(name=name, defaults={"beat_at": Now()})


def age_seconds(name: str) -> float | None:
    """How long ago `name` last beat, by the database's clock; None if it never did."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM scheduling_heartbeat WHERE name = %s",
            [name],
        )
        row = cursor.fetchone()
    return None if row is None else float(row[0])
