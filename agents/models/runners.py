"""Processes that run turns."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from foundation.ids import new_id


class Runner(models.Model):
    """A runner process as it last reported itself."""

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

    class Meta:
        ordering = ["-heartbeat_at"]
        indexes = [models.Index(fields=["-heartbeat_at"], name="runner_heartbeat")]

    def __str__(self) -> str:
        return f"{self.host}:{self.pid}"
