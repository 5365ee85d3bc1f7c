"""What limits are counted in. The tables are UNLOGGED: a crash of PostgreSQL empties them, and nothing is lost."""

from __future__ import annotations

from django.db import models


class Bucket(models.Model):
    """A token bucket (`agents.limits.buckets`). An absent row is a full one."""

    key = models.CharField(primary_key=True, max_length=100)
    full_at = models.DateTimeField(help_text="When it is full again.")
    granted = models.IntegerField(help_text="Tokens of the last taking.")

    def __str__(self) -> str:
        return self.key


class WebProcess(models.Model):
    """A process that holds sockets open. Past `expires_at` it is gone, and its sockets with it."""

    id = models.UUIDField(primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name_plural = "web processes"

    def __str__(self) -> str:
        return str(self.id)


class SocketSlot(models.Model):
    """One of the open sockets that a user may have; free again when its process is gone (`agents.limits.sockets`)."""

    # Plain ids: a slot whose user or process is gone is free, and is forgotten by the scheduler.
    user_id = models.BigIntegerField()
    slot = models.IntegerField()
    process_id = models.UUIDField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user_id", "slot"], name="socket_slot_unique")]

    def __str__(self) -> str:
        return f"{self.user_id} #{self.slot}"
