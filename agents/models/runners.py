"""Processes that run turns."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import models
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
