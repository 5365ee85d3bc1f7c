"""What is remembered, read by those whom it is about."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from foundation.errors import NotFound
from memory.enums import Trust
from memory.models import Memory


def memories_of_user(user_id: int) -> QuerySet[Memory]:
    """All memories about one user, whatever became of them: their own, those of their sessions, and those that they
    have in shared pools. With text and owner."""
    rows = Memory.objects.filter(owner__user=user_id).select_related("body", "owner")
    return rows.defer("words", "context_words", "embedding")


def current(rows: QuerySet[Memory]) -> QuerySet[Memory]:
    """Those of `rows` that hold now: neither superseded, ended, expired nor rejected. What is in quarantine is among
    them: whom it is about may see it."""
    return rows.filter(
        Q(valid_until__isnull=True) | Q(valid_until__gt=Now()),
        Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
        superseded_by__isnull=True,
        trust__gt=Trust.REJECTED.value,
    )


def access_own_memory(user_id: int, memory_id: UUID) -> Memory:
    """A memory about the user. Raises `NotFound`, also for those of others."""
    memory = memories_of_user(user_id).filter(pk=memory_id).first()
    if memory is None:
        raise NotFound("There is no such memory.")
    return memory
