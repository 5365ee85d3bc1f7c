"""Frees the space of expired memories. A search leaves them out from the moment of their expiry."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from foundation.batches import work_in_batches
from memory.models import Memory
from memory.writing.erasure import erase

EXPIRY_BATCH = 500
EXPIRY_SECONDS = 40


def sweep_expired() -> int:
    """Erase expired memories, with what was made of them, for 40 seconds at most; return how many went."""
    return work_in_batches(lambda _: _sweep_batch(), seconds=EXPIRY_SECONDS)


@transaction.atomic
def _sweep_batch() -> int:
    rows = Memory.objects.filter(expires_at__lt=Now()).order_by("expires_at")
    ids = list(rows.values_list("pk", flat=True)[:EXPIRY_BATCH])
    return erase(ids) if ids else 0
