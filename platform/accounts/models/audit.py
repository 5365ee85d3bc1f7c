"""The audit trail, kept for BANDSTAND_AUDIT_DAYS."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from foundation.ids import new_id


class AuditEntry(models.Model):
    """One action: who did what to what. Written by `accounts.audit`; a trigger refuses every change.

    `actor` stays when the account is deleted; `user` does not. `detail` holds neither secrets nor messages.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    at = models.DateTimeField(db_default=Now())
    actor = models.CharField(max_length=200)
    user = models.ForeignKey("User", null=True, on_delete=models.SET_NULL, related_name="+")
    action = models.CharField(max_length=64, help_text='What was done, e.g. "release.published".')
    target_type = models.CharField(max_length=64)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=200, blank=True, default="")
    detail = models.JSONField(default=dict)

    class Meta:
        verbose_name = "audit entry"
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["target_id", "-id"], name="audit_of_target"),
            models.Index(fields=["actor", "-id"], name="audit_of_actor"),
            models.Index(fields=["action", "-id"], name="audit_of_action"),
        ]

    def __str__(self) -> str:
        return f"{self.action} by {self.actor}"
