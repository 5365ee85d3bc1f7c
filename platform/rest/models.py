"""Stored responses of POSTs with an Idempotency-Key."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class IdempotencyRecord(models.Model):
    """One POST by (principal, verb, target, key). Without a status it is still in progress; with one and without a
    body, what it created is deleted. `subjects` are the ids that the response names as its own and as its session's.
    """

    principal = models.CharField(max_length=64)
    verb = models.CharField(max_length=64)
    target = models.CharField(max_length=64, blank=True)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=32)
    status = models.SmallIntegerField(null=True)
    body = models.JSONField(null=True)
    headers = models.JSONField(default=dict)
    subjects = ArrayField(models.UUIDField(), default=list)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["principal", "verb", "target", "key"], name="idempotency_key_unique")
        ]
        indexes = [GinIndex(fields=["subjects"], name="idempotency_subjects")]

    def __str__(self) -> str:
        return f"{self.verb} {self.key}"
