"""How far the export of traces has come."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class TraceExport(models.Model):
    """The one row of the export by OTLP, which goes on from it after any end of its process.

    Turns are visited in the order of their ids: `visited` is the last one. Those among them that had not ended are
    `open_turns`, which are looked at again. A turn that is sent and whose row was not saved is sent again.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    visited = models.UUIDField()
    open_turns = ArrayField(models.UUIDField(), default=list, blank=True)
    exported = models.BigIntegerField(default=0, help_text="Turns that the receiver has taken.")
    refused = models.BigIntegerField(default=0, help_text="Turns that it does not take, whatever is done.")
    failures = models.IntegerField(default=0, help_text="In a row, since something was sent.")
    retry_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="trace_export_single_row")]

    def __str__(self) -> str:
        return f"export up to {self.visited}"
