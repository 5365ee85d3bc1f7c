"""Stored responses of POSTs with an Idempotency-Key."""

from __future__ import annotations

from django.db import models


class IdempotencyRecord(models.Model):
    """One POST by (principal, verb, target, key). Without a status it is still in progress."""

    principal = models.CharField(max_length=64)
    verb = models.CharField(max_length=64)
    target = models.CharField(max_length=64, blank=True)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField(null=True)
    body = models.JSONField(null=True)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["principal", "verb", "target", "key"], name="idempotency_key_unique")
        ]

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"
