"""Export: all that is remembered of a user, as JSON values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from accounts.actor import Actor, Scope
from foundation.errors import Unauthenticated
from memory.models import Memory, MemoryOwner, WorkingItem

PAGE = 500


def export_memories(actor: Actor) -> Iterator[dict[str, Any]]:
    """Every memory of the actor's user, oldest first, superseded and rejected ones too; then the items of working
    memory. Vectors are not exported: they follow from the texts. Read in pages of 500.

    Raises `Unauthenticated`, `Forbidden`.
    """
    actor.require_scope(Scope.READ)
    if actor.user_id is None:
        raise Unauthenticated
    owners = {owner.pk: owner for owner in MemoryOwner.objects.filter(user=actor.user_id)}
    return _rows(owners)


def _rows(owners: dict[int, MemoryOwner]) -> Iterator[dict[str, Any]]:
    after: UUID | None = None
    rows = Memory.objects.filter(owner__in=owners).select_related("body").order_by("pk")
    rows = rows.defer("embedding", "words", "context_words")
    while page := list((rows.filter(pk__gt=after) if after else rows)[:PAGE]):
        for memory in page:
            yield memory_record(memory, owners[memory.owner_id])
        after = page[-1].pk
    for item in WorkingItem.objects.filter(owner__in=owners).order_by("pk").iterator(PAGE):
        yield {
            "id": str(item.pk),
            "tier": "working",
            "scope": owners[item.owner_id].scope,
            "session": str(owners[item.owner_id].session),
            "kind": item.kind,
            "text": item.text,
            "state": item.state,
            "created_at": item.created_at,
        }


def memory_record(memory: Memory, owner: MemoryOwner) -> dict[str, Any]:
    """A memory as a JSON object with everything that is kept of it but its vectors."""
    body = memory.body
    return {
        "id": str(memory.pk),
        "tier": memory.tier,
        "scope": owner.scope,
        "agent": _text(owner.agent),
        "pool": _text(owner.pool_id),
        "text": body.text,
        "speaker": memory.actor,
        "slot": memory.slot,
        "metadata": body.metadata,
        "source": body.source,
        "origin": body.origin,
        "session": _text(body.session),
        "turn": _text(body.turn),
        "message": _text(body.message),
        "trust": memory.trust,
        "importance": memory.importance,
        "occurred_at": memory.occurred_at,
        "created_at": memory.created_at,
        "valid_from": memory.valid_from,
        "valid_until": memory.valid_until,
        "expires_at": memory.expires_at,
        "superseded_by": _text(memory.superseded_by_id),
        "version": memory.version,
    }


def _text(key: UUID | None) -> str | None:
    return None if key is None else str(key)
