"""Memories that a search has returned before, as they read today."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from memory.models import Memory
from memory.recall.ranking import mark_contradictions
from memory.recall.recollection import RecalledMemory
from memory.recall.text_statement import read_texts


def reread_memories(memory_ids: Sequence[UUID]) -> list[RecalledMemory]:
    """Those of `memory_ids`, the result of one search, that are still there: in this order, with what they superseded
    and what contradicts them, whatever has become of them. Their scores are 0. Who may read them is for the caller to
    know."""
    owners = Memory.objects.filter(pk__in=memory_ids).values_list("owner_id", flat=True).distinct()
    texts = read_texts(memory_ids, list(owners))
    return mark_contradictions([texts[memory_id].memory for memory_id in memory_ids if memory_id in texts])
