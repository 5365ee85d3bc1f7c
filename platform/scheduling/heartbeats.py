"""Heartbeats of the parts of an installation, by the database's clock."""

from __future__ import annotations

from typing import Final

from django.db import connection
from django.db.models.functions import Now

from scheduling.models import Heartbeat

SCHEDULER: Final = "scheduler"
# It is written each minute by a task that passes through the queue; one may be lost and the next one late.
SCHEDULER_STALE_SECONDS: Final = 200


def record_heartbeat(name: str) -> None:
    """Set the heartbeat of `name` to now."""
    Heartbeat.objects.update_or_create(name=name, defaults={"beat_at": Now()})


def age_seconds(name: str) -> float | None:
    """Seconds since the last heartbeat of `name`, by the database's clock; None if there was none."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - beat_at)::float8 FROM scheduling_heartbeat WHERE name = %s",
            [name],
        )
        row = cursor.fetchone()
    return None if row is None else float(row[0])
