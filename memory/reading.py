"""What is remembered, read by those whom it is about."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from foundation.errors import NotFound
from memory.models import Memory
from memory.enums import Trust


def memories_of_user(user_id: int) -> QuerySet[Memory]:
    """All memories about one user, whatever became of them: their own, those of their sessions, and those of pools in
    which they have some of their own. With text and owner."""
    return Memory.objects.filter(owner__user=user_id).select_related("body", "owner").defer(
        "words", "context_words", "embedding"
    )


def current(rows: QuerySet[Memory]) -> QuerySet[Memory]:
    """Those of `rows` that hold now: neither superseded, ended, expired nor rejected. What is in quarantine is among
    them: whom it is about may see it."""
    return rows.filter(
        Q(valid_until__isnull=True) | Q(valid_until__gt=Now()),
        Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
        superseded_by__isnull=True,
        trust__gt=Trust.REJECTED.value,
    )


def access_memory(user_id: int, memory_id: UUID) -> Memory:
    """A memory about the user. Raises `NotFound`, also for others'."""
    memory = memories_of_user(user_id).filter(pk=memory_id).first()
    if memory is None:
        raise NotFound("There is no such memory here.")
    return memory
