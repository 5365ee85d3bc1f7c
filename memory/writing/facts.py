"""Long-term memory: remember a fact, and revise one. Nothing is overwritten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Least
from psycopg.types.json import Jsonb

from accounts.actor import Actor
from accounts.audit import record_audit
from foundation.clock import now
from foundation.errors import Conflict, InvalidInput, PreconditionFailed
from foundation.ids import new_id
from memory.enums import MemorySource, Tier, Trust
from memory.models import Memory, MemoryBody, MemoryDerivation, MemoryKey
from memory.ownership import OwnerKey, get_or_create_owner
from memory.writing.access import access_memory, is_own, require_owner_access
from memory.writing.erasure import erase_derived
from memory.writing.eviction import evict_if_due
from memory.writing.new_memory import (
    MAX_ORIGIN,
    NO_PROVENANCE,
    Provenance,
    Remembered,
    check_importance,
    check_metadata,
    check_slot,
    check_text,
    clean_speaker,
    fact_key,
)
from memory.writing.statements import LOCK_OWNER, STORE_FACT, run
from ratelimits import guard_storage

# Sources by which a person says something: told again, it is believed though it was not before.
_PERSONAL_SOURCES = frozenset({MemorySource.REMEMBER, MemorySource.FORM, MemorySource.API})
MAX_KEYS = 4
MAX_KEY_TEXT = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A checked fact on its way into the database."""

    text: str
    source: MemorySource
    speaker: str = ""
    slot: str = ""
    importance: float = 0.5
    metadata: Mapping[str, Any]
    trust: Trust = Trust.DEFAULT
    occurred_at: datetime | None = None
    valid_from: datetime | None = None
    expires_at: datetime | None = None
    provenance: Provenance = NO_PROVENANCE


def remember(
    actor: Actor,
    owner: OwnerKey,
    text: str,
    *,
    source: MemorySource,
    speaker: str = "",
    slot: str = "",
    importance: float = 0.5,
    metadata: Mapping[str, Any] | None = None,
    trust: Trust = Trust.DEFAULT,
    occurred_at: datetime | None = None,
    expires_at: datetime | None = None,
    provenance: Provenance = NO_PROVENANCE,
    derived_from: Sequence[UUID] = (),
    keys: Sequence[str] = (),
) -> Remembered:
    """Remember a fact for `owner`. `speaker` is who said it.

    What holds already is not stored again: the first is returned. With a `slot`, the name of the fact, it supersedes
    the value that the slot has now. What is not trusted supersedes nothing until somebody confirms it. `derived_from`
    are memories that it was made of, `keys` situations in which it matters. A user's bytes count for the day.

    Raises `InvalidInput`, `TooLarge`, `RateLimited`, `Forbidden`, `Unauthenticated`.
    """
    require_owner_access(actor, owner)
    fact = Fact(
        text=check_text(text),
        source=source,
        speaker=clean_speaker(speaker),
        slot=check_slot(slot),
        importance=check_importance(importance),
        metadata=check_metadata(metadata),
        trust=trust,
        occurred_at=occurred_at,
        expires_at=check_expiry(expires_at),
        provenance=replace(provenance, origin=clean_speaker(provenance.origin)[:MAX_ORIGIN]),
    )
    if actor.user_id is not None:
        guard_storage(user_id=actor.user_id, size_bytes=len(fact.text.encode()))
    with transaction.atomic():
        owner_id = get_or_create_owner(owner)
        # Nearly all facts are new, so the lock counts this one; one more statement corrects it for the others.
        memories = lock_owner(owner_id, count=1)
        stored = store_fact_locked(owner_id, fact)
        if stored.is_new:
            _add_relations(owner_id, stored.id, derived_from, keys)
            evict_if_due(owner_id, Tier.LONG_TERM, memories)
        else:
            lock_owner(owner_id, count=-1)
    return stored


def revise(
    actor: Actor, memory_id: UUID, text: str, *, expected_version: int | None, source: MemorySource = MemorySource.FORM
) -> Remembered:
    """Correct a fact: a new memory with this text supersedes it from the beginning of its validity, and what was made
    of it goes. `expected_version` None skips the check.

    Raises `NotFound`, `InvalidInput`, `TooLarge`, `RateLimited`, `Conflict` when it is superseded already, and
    `PreconditionFailed` when the version is another one.
    """
    cleaned = check_text(text)
    if actor.user_id is not None:
        guard_storage(user_id=actor.user_id, size_bytes=len(cleaned.encode()))
    with transaction.atomic():
        # The owner's row first: all who write for an owner take it before the rows of its memories.
        lock_owner(access_memory(actor, memory_id).owner_id)
        memory = access_memory(actor, memory_id, lock=True)
        if memory.tier != Tier.LONG_TERM:
            raise InvalidInput("What was said stays as it was said; it can be forgotten.", pointer="/text")
        if expected_version is not None and memory.version != expected_version:
            raise PreconditionFailed
        if memory.superseded_by_id is not None:
            raise Conflict("Something newer has superseded this memory.")
        if memory.body.text == cleaned:
            return Remembered(memory.pk, is_new=False)
        body = memory.body
        fact = Fact(
            text=cleaned,
            source=source,
            speaker=memory.actor,
            slot=memory.slot,
            importance=memory.importance,
            metadata=body.metadata,
            # Whoever corrects a fact has looked at it.
            trust=Trust.CONFIRMED,
            occurred_at=memory.occurred_at,
            valid_from=memory.valid_from,
            expires_at=memory.expires_at,
            provenance=Provenance(body.agent, body.session, body.turn, body.message, body.step, body.origin),
        )
        erase_derived([memory.pk])
        # The digest leaves case, spaces and a final period out, but a correction may be just of these.
        MemoryBody.objects.filter(pk=memory.pk).update(dedup_key=None)
        stored = store_fact_locked(memory.owner_id, fact, supersedes=memory.pk)
        if stored.is_new:
            lock_owner(memory.owner_id, count=1)
        else:
            supersede_locked([memory.pk], by=stored.id)
        if not is_own(actor, memory.owner):
            record_audit(actor, "memory.revised", target=memory, detail={"new_memory": str(stored.id)})
    return replace(stored, superseded=(memory.pk,))


def lock_owner(owner_id: int, *, count: int = 0) -> int:
    """Lock an owner's row and add to its count of memories, which is returned."""
    rows = run(LOCK_OWNER, {"owner": owner_id, "count": count})
    return int(rows[0][0]) if rows else 0


def store_fact_locked(owner_id: int, fact: Fact, *, supersedes: UUID | None = None) -> Remembered:
    """Store a fact for an owner whose row is locked; `supersedes` is a memory of it that the fact corrects. The caller
    counts it."""
    origin = fact.provenance
    params = {
        "id": new_id(),
        "owner": owner_id,
        "dedup": fact_key(fact.text, fact.slot),
        "supersedes": supersedes,
        "text": fact.text,
        "slot": fact.slot,
        "speaker": fact.speaker,
        "metadata": Jsonb(dict(fact.metadata)),
        "source": fact.source.value,
        "trust": fact.trust.value,
        "importance": fact.importance,
        "occurred_at": fact.occurred_at,
        "valid_from": fact.valid_from,
        "expires_at": fact.expires_at,
        "agent": origin.agent,
        "session": origin.session,
        "turn": origin.turn,
        "message": origin.message,
        "step": origin.step,
        "origin": origin.origin,
        "language": settings.BANDSTAND.memory_language,
    }
    [(new, same, trust, closed)] = run(STORE_FACT, params)
    if new is None:
        if fact.source in _PERSONAL_SOURCES and fact.trust >= Trust.DEFAULT:
            if trust < fact.trust:
                believe_locked(same, fact.trust)
            _extend_locked(same, fact.expires_at)
        return Remembered(same, is_new=False)
    return Remembered(new, is_new=True, superseded=tuple(closed))


def believe_locked(memory_id: UUID, trust: Trust) -> None:
    """Trust a memory that was not trusted; the value that its slot has now is superseded."""
    memory = Memory.objects.get(pk=memory_id)
    if memory.slot and memory.superseded_by_id is None and memory.valid_until is None:
        current = Memory.objects.filter(
            owner_id=memory.owner_id, slot=memory.slot, superseded_by=None, valid_until=None, trust__gte=Trust.DEFAULT
        ).exclude(pk=memory.pk)
        supersede_locked(list(current.values_list("pk", flat=True)), by=memory.pk)
    memory.trust = trust.value
    memory.version += 1
    memory.save(update_fields=["trust", "version"])


def _extend_locked(memory_id: UUID, expires_at: datetime | None) -> None:
    """Let a memory that expires hold for as long as who said it again wants; never for a shorter time."""
    rows = Memory.objects.filter(pk=memory_id, expires_at__isnull=False)
    if expires_at is not None:
        rows = rows.filter(expires_at__lt=expires_at)
    rows.update(expires_at=expires_at, version=F("version") + 1)


def supersede_locked(memory_ids: Sequence[UUID], *, by: UUID) -> None:
    """End the validity of memories that another one replaces; what has ended already keeps its end."""
    moment = now()
    Memory.objects.filter(pk__in=memory_ids).exclude(pk=by).update(
        superseded_by_id=by, valid_until=Least(Coalesce("valid_until", moment), moment), version=F("version") + 1
    )
    MemoryBody.objects.filter(pk__in=memory_ids).exclude(pk=by).update(dedup_key=None)


def check_expiry(expires_at: datetime | None) -> datetime | None:
    """`expires_at` if it is a moment to come. Raises `InvalidInput`."""
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= now()):
        raise InvalidInput("A time to come is expected.", pointer="/expires_at")
    return expires_at


def _add_relations(owner_id: int, memory_id: UUID, derived_from: Sequence[UUID], keys: Sequence[str]) -> None:
    if derived_from:
        MemoryDerivation.objects.bulk_create(
            [MemoryDerivation(memory_id=memory_id, origin_id=origin) for origin in derived_from], ignore_conflicts=True
        )
    if keys:
        MemoryKey.objects.bulk_create(
            [
                MemoryKey(memory_id=memory_id, owner_id=owner_id, text=check_text(key)[:MAX_KEY_TEXT])
                for key in keys[:MAX_KEYS]
            ]
        )
