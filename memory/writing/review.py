"""Review: confirm, quarantine, reject and merge memories."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from django.db.models import F, Max, Sum

from accounts.actor import Actor
from accounts.audit import record_audit
from accounts.permissions import require_permission
from foundation.errors import InvalidInput, NotFound
from memory.enums import Tier, Trust
from memory.models import Memory, MemoryBody, MemoryDerivation, MemoryKey, SimilarPair
from memory.role_permissions import REVIEW_MEMORY
from memory.writing.access import access_memory, is_own
from memory.writing.facts import believe_locked, lock_owner, supersede_locked
from memory.writing.new_memory import fact_key
from memory.writing.statements import DERIVED, REOPEN, run

MAX_MERGED = 100


def confirm_memory(actor: Actor, memory_id: UUID) -> Memory:
    """Say that a memory is true; returns it. It supersedes the value that its slot has now. Raises `NotFound`."""
    return _set_trust(actor, memory_id, Trust.CONFIRMED, "memory.confirmed")


def quarantine_memory(actor: Actor, memory_id: UUID) -> Memory:
    """Keep a memory, and what was made of it, from being recalled until somebody confirms it; returns it. Raises
    `NotFound`."""
    return _set_trust(actor, memory_id, Trust.QUARANTINED, "memory.quarantined")


def reject_memory(actor: Actor, memory_id: UUID) -> Memory:
    """Say that a memory is wrong; returns it. It and what was made of it are recalled no more, nor stored again when
    the same is told, and what it had superseded holds again. Raises `NotFound`."""
    return _set_trust(actor, memory_id, Trust.REJECTED, "memory.rejected")


@transaction.atomic
def _set_trust(actor: Actor, memory_id: UUID, trust: Trust, action: str) -> Memory:
    lock_owner(access_memory(actor, memory_id).owner_id)
    memory = access_memory(actor, memory_id, lock=True)
    if memory.trust != trust:
        if trust >= Trust.DEFAULT:
            believe_locked(memory.pk, trust)
        else:
            distrust_locked([memory.pk], trust)
        if not is_own(actor, memory.owner):
            record_audit(actor, action, target=memory)
    return access_memory(actor, memory_id)


def distrust_locked(memory_ids: Sequence[UUID], trust: Trust) -> None:
    """Lower the trust of memories and of what was made of them; what they had superseded holds again."""
    ids = [*memory_ids, *(row[0] for row in run(DERIVED, {"ids": list(memory_ids)}))]
    Memory.objects.filter(pk__in=ids, trust__gt=trust).update(trust=trust.value, version=F("version") + 1)
    reopen_locked(ids)


def reopen_locked(memory_ids: Sequence[UUID]) -> int:
    """Let hold again what memories had superseded that are distrusted or about to be erased; return how many."""
    reopened = [row[0] for row in run(REOPEN, {"ids": list(memory_ids)})]
    for body in MemoryBody.objects.filter(memory__in=reopened).select_related("memory").order_by("pk"):
        key = fact_key(body.text, body.memory.slot)
        if not MemoryBody.objects.filter(owner=body.owner_id, dedup_key=key).exists():
            body.dedup_key = key
            body.save(update_fields=["dedup_key"])
    return len(reopened)


@transaction.atomic
def merge_memories(actor: Actor, memory_ids: Sequence[UUID], *, into: UUID) -> Memory:
    """Let the memory `into` stand for others of the same owner, which it supersedes; returns it. It takes their
    keys, their hits, and what was made of them.

    Raises `Forbidden`, `NotFound`, and `InvalidInput` for memories of several owners and for episodes.
    """
    require_permission(actor, REVIEW_MEMORY)
    ids = sorted(set(memory_ids) - {into})
    if not ids or len(ids) > MAX_MERGED:
        raise InvalidInput(f"From 1 to {MAX_MERGED} other memories are expected.", pointer="/memories")
    lock_owner(access_memory(actor, into).owner_id)
    memory = access_memory(actor, into, lock=True)
    rows = Memory.objects.select_for_update(no_key=True).filter(pk__in=ids).order_by("pk")
    merged = list(rows)
    if len(merged) != len(ids):
        raise NotFound("There is no such memory.")
    if any(row.owner_id != memory.owner_id or row.tier != Tier.LONG_TERM for row in [memory, *merged]):
        raise InvalidInput("Only long-term memories of one owner can be merged.", pointer="/memories")
    if memory.superseded_by_id is not None:
        raise InvalidInput("Something newer has superseded that memory.", pointer="/into")
    if memory.trust < Trust.DEFAULT or memory.valid_until is not None or memory.expires_at is not None:
        raise InvalidInput("Nobody would recall it, or not for long: others cannot be merged into it.", pointer="/into")
    merge_locked(memory, ids)
    record_audit(actor, "memory.merged", target=memory, detail={"merged_memory": [str(pk) for pk in ids]})
    return access_memory(actor, into)


def merge_locked(memory: Memory, memory_ids: Sequence[UUID]) -> None:
    """Merge memories of one owner, whose row is locked, into `memory`."""
    figures = Memory.objects.filter(pk__in=memory_ids).aggregate(hits=Sum("hits"), importance=Max("importance"))
    derived = MemoryDerivation.objects.filter(origin__in=memory_ids).exclude(memory=memory)
    MemoryDerivation.objects.bulk_create(
        [MemoryDerivation(memory_id=pk, origin=memory) for pk in sorted(set(derived.values_list("memory", flat=True)))],
        ignore_conflicts=True,
    )
    derived.delete()
    MemoryKey.objects.filter(memory__in=memory_ids).update(memory=memory)
    SimilarPair.objects.filter(first__in=memory_ids).delete()
    SimilarPair.objects.filter(second__in=memory_ids).delete()
    supersede_locked(memory_ids, by=memory.pk)
    Memory.objects.filter(pk=memory.pk).update(
        hits=F("hits") + (figures["hits"] or 0),
        importance=max(memory.importance, figures["importance"] or 0.0),
        version=F("version") + 1,
    )
