"""Finds facts that say the same: nearly equal ones are merged, similar ones are noted for somebody to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction

from foundation.batches import work_in_batches
from memory.enums import Tier, Trust
from memory.models import Memory, SimilarPair
from memory.same_content import content_words
from memory.writing.facts import lock_owner
from memory.writing.review import merge_locked
from memory.writing.statements import run

# Above it two facts of one speaker are one; at .92 they are already about something else.
SAME_COSINE = 0.97
SIMILAR_COSINE = 0.90
CONSOLIDATION_BATCH = 200
CONSOLIDATION_SECONDS = 40

# The newest facts first: what is left when the time is up is looked at with the next run, or was before.
_NEW_FACTS = """
SELECT id, owner_id FROM memory_memory
WHERE tier = 'long_term' AND embedding IS NOT NULL AND superseded_by_id IS NULL AND valid_until IS NULL AND trust >= 2
  AND created_at > now() - interval '3 days' AND (%(cursor)s::uuid IS NULL OR id < %(cursor)s)
ORDER BY id DESC LIMIT %(limit)s
"""
_NEAREST = """
SELECT o.id, 1 - (o.embedding <=> m.embedding) AS cosine
FROM memory_memory m JOIN memory_memory o ON o.owner_id = m.owner_id
WHERE m.id = %(id)s AND o.id <> m.id AND o.tier = 'long_term' AND o.embedding_model_id = m.embedding_model_id
  AND o.superseded_by_id IS NULL AND o.valid_until IS NULL AND o.trust >= 2
  AND (o.expires_at IS NULL OR o.expires_at > now())
  AND NOT EXISTS (SELECT FROM memory_similarpair p
                  WHERE p.first_id = least(o.id, m.id) AND p.second_id = greatest(o.id, m.id))
ORDER BY o.embedding <=> m.embedding LIMIT 5
"""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A fact near another one."""

    id: UUID
    cosine: float


def consolidate() -> int:
    """Compare the facts of the last days with their neighbours, for 40 seconds at most; return how many were merged or
    noted."""
    cursor: UUID | None = None
    count = 0

    def compare_batch(_left: float) -> int:
        nonlocal cursor, count
        rows = run(_NEW_FACTS, {"cursor": cursor, "limit": CONSOLIDATION_BATCH})
        for memory_id, owner_id in rows:
            count += consolidate_fact(memory_id, owner_id)
            cursor = memory_id
        return len(rows)

    work_in_batches(compare_batch, seconds=CONSOLIDATION_SECONDS, full=CONSOLIDATION_BATCH)
    return count


@transaction.atomic
def consolidate_fact(memory_id: UUID, owner_id: int) -> int:
    """Merge a fact with what says the same, and note what is similar; return how many of both."""
    lock_owner(owner_id)
    neighbours = [Neighbour(pk, float(cosine)) for pk, cosine in run(_NEAREST, {"id": memory_id})]
    near = [neighbour for neighbour in neighbours if neighbour.cosine >= SIMILAR_COSINE]
    rows = Memory.objects.select_related("body").in_bulk([memory_id, *(neighbour.id for neighbour in near)])
    memory = rows.get(memory_id)
    if memory is None or memory.superseded_by_id is not None:
        return 0
    for neighbour in near:
        other = rows.get(neighbour.id)
        if other is None:
            continue
        if neighbour.cosine >= SAME_COSINE and _may_merge(memory, other):
            into, merged = _choose(memory, other)
            merge_locked(into, [merged.pk])
            if into is other:
                return len(near)
        else:
            note_similar(memory_id, neighbour.id, neighbour.cosine)
    return len(near)


def note_similar(one: UUID, other: UUID, similarity: float) -> None:
    """Note a pair for review, once."""
    first, second = sorted((one, other))
    SimilarPair.objects.bulk_create(
        [SimilarPair(first_id=first, second_id=second, similarity=similarity)], ignore_conflicts=True
    )


def _may_merge(one: Memory, other: Memory) -> bool:
    """Whether nobody needs to look: the same speaker, and not two facts of different names."""
    same_slot = one.slot == other.slot or not (one.slot and other.slot)
    same_kind = one.actor == other.actor and one.tier == other.tier == Tier.LONG_TERM
    return same_kind and same_slot and content_words(one.body.text) == content_words(other.body.text)


def _choose(one: Memory, other: Memory) -> Sequence[Memory]:
    """Which stays, and which goes: what somebody confirmed stays, else what has a name, else the newer one."""
    return sorted((one, other), key=lambda row: (row.trust == Trust.CONFIRMED, bool(row.slot), row.pk), reverse=True)
