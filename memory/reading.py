"""What is remembered, read by those whom it is about."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from foundation.errors import NotFound
from memory.enums import MemoryScope, Trust
from memory.models import Memory, MemoryOwner
from memory.ownership import OwnerKey
from memory.recall.owner_rows import MAX_OWNERS


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


def owner_keys_of_user(user_id: int, agent_id: UUID | None = None) -> list[OwnerKey]:
    """What a search by the user reads: what is remembered of them with `agent_id`, or with all agents, and what they
    have in shared pools; the newest 64 of these owners."""
    rows = MemoryOwner.objects.filter(user=user_id, scope__in=[MemoryScope.USER.value, MemoryScope.SHARED.value])
    if agent_id is not None:
        rows = rows.filter(Q(agent=agent_id) | Q(agent__isnull=True))
    return [
        OwnerKey(MemoryScope(owner.scope), user_id=user_id, agent_id=owner.agent, pool_id=owner.pool_id)
        for owner in rows.order_by("-pk")[:MAX_OWNERS]
    ]
