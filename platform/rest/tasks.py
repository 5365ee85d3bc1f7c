"""The background task of the HTTP interfaces, for the scheduler: forgetting the answers kept for repeated requests."""

from __future__ import annotations

from datetime import timedelta

from django.db.models.functions import Now

from rest.models import IdempotencyRecord

IDEMPOTENCY_RETENTION = timedelta(hours=48)


def purge_idempotency() -> int:
    """Delete idempotency records after 48 hours; return their number."""
    deleted, _ = IdempotencyRecord.objects.filter(created_at__lt=Now() - IDEMPOTENCY_RETENTION).delete()
    return deleted
