"""Open sockets. The tables are UNLOGGED: a crash of PostgreSQL empties them, which does no harm."""

from __future__ import annotations

from typing import Self

from django.db import models
from django.db.models.functions import Now


class WebProcess(models.Model):
    """A process with open sockets. After `expires_at` it counts as gone, with its sockets."""

    id = models.UUIDField(primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "web processes"

    def __str__(self) -> str:
        return str(self.id)


class SocketSlotQuerySet(models.QuerySet["SocketSlot"]):
    def for_user(self, user_id: int) -> Self:
        """The slots of a user's open sockets, in processes that have not expired."""
        live_processes = WebProcess.objects.filter(expires_at__gt=Now())
        return self.filter(user_id=user_id, process_id__in=live_processes.values("id"))


class SocketSlot(models.Model):
    """One of the open sockets that a user may have; free again when its process is gone.

    Acquired and released by `agents.ws.connection_slots`.
    """

    # Plain ids: a slot whose user or process is gone is free, and a scheduled job deletes it.
    user_id = models.BigIntegerField()
    slot = models.IntegerField()
    process_id = models.UUIDField()

    objects = SocketSlotQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user_id", "slot"], name="socket_slot_unique")]

    def __str__(self) -> str:
        return f"{self.user_id} #{self.slot}"
