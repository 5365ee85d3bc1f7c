"""Open connections. The tables are UNLOGGED: a crash of PostgreSQL empties them, which does no harm."""

from __future__ import annotations

from typing import Self
from uuid import UUID

from django.db import models
from django.db.models.functions import Now


class WebProcess(models.Model):
    """A process with open connections. After `expires_at` it counts as gone, with its connections."""

    id = models.UUIDField(primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "web processes"

    def __str__(self) -> str:
        return str(self.id)


class ConnectionSlotQuerySet(models.QuerySet["ConnectionSlot"]):
    def of_holder(self, user_id: int, key_id: UUID | None) -> Self:
        """The slots of an API key, or (None) of a user's logins, in processes that have not expired."""
        live_processes = WebProcess.objects.filter(expires_at__gt=Now())
        return self.filter(user_id=user_id, key_id=key_id, process_id__in=live_processes.values("id"))


class ConnectionSlot(models.Model):
    """One of the connections that a user's logins, or an API key, may have open; free again when its process is gone.

    Acquired and released by `agents.http.connection_slots`.
    """

    # Plain ids: a slot whose user or process is gone is free, and a scheduled job deletes it.
    user_id = models.BigIntegerField()
    key_id = models.UUIDField(null=True)
    slot = models.IntegerField()
    process_id = models.UUIDField()

    objects = ConnectionSlotQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["user_id", "key_id", "slot"], nulls_distinct=False, name="connection_slot_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.key_id or self.user_id} #{self.slot}"
