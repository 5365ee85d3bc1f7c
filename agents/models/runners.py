"""Processes that run turns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection, models
from django.db.models.functions import Now

from foundation.ids import new_id

# A runner sends a heartbeat with each renewal of its leases; after three missed ones it counts as dead.
MISSED_HEARTBEATS: Final = 3


def heartbeat_timeout() -> timedelta:
    """The age of a heartbeat after which its runner counts as dead."""
    return timedelta(seconds=MISSED_HEARTBEATS * settings.BANDSTAND.heartbeat_seconds)


class RunnerQuerySet(models.QuerySet["Runner"]):
    def alive(self) -> RunnerQuerySet:
        """Runners that take turns and have a recent heartbeat, by the database's clock."""
        return self.filter(status=Runner.Status.RUNNING, heartbeat_at__gte=Now() - heartbeat_timeout())


def send_heartbeat(runner_id: UUID, *, running: int) -> int:
    """Report a runner as alive with so many `running` turns, and return how many runners are alive: one statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH me AS (UPDATE agents_runner SET heartbeat_at = now(), running = %(running)s WHERE id = %(runner)s)
            SELECT count(*) FROM agents_runner
            WHERE id = %(runner)s OR (status = 'running' AND heartbeat_at >= now() - make_interval(secs => %(timeout)s))
            """,
            {"runner": runner_id, "running": running, "timeout": heartbeat_timeout().total_seconds()},
        )
        return int(cursor.fetchone()[0])


class Runner(models.Model):
    """A runner process as of its last heartbeat."""

    class Status(models.TextChoices):
        RUNNING = "running"
        DRAINING = "draining"
        STOPPED = "stopped"

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    capacity = models.IntegerField()
    running = models.IntegerField(default=0)
    started_at = models.DateTimeField(db_default=Now())
    heartbeat_at = models.DateTimeField(db_default=Now())

    objects = RunnerQuerySet.as_manager()

    class Meta:
        ordering = ["-heartbeat_at"]
        indexes = [models.Index(fields=["-heartbeat_at"], name="runner_heartbeat")]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"

    def is_silent(self, now: datetime) -> bool:
        """Whether its heartbeat has stopped although it has not reported that it stopped, as after a kill."""
        return self.status != self.Status.STOPPED and self.heartbeat_at < now - heartbeat_timeout()
