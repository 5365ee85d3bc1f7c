"""A recalled memory as a model reads it, and whether the user stands behind it."""

from __future__ import annotations

from collections.abc import Sequence

from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.recall.recollection import RecalledMemory


def is_trusted(memory: RecalledMemory) -> bool:
    """Whether the user has stated or confirmed the memory, and nothing else goes with it."""
    is_own = memory.scope in (MemoryScope.SESSION, MemoryScope.USER)
    is_stated = memory.source is MemorySource.FORM or memory.trust >= Trust.CONFIRMED
    return is_own and is_stated and not memory.earlier and not memory.contradicts


def memory_text(memory: RecalledMemory) -> str:
    """A memory as a model reads it: who said it and when, what it replaced, and whether another one contradicts it."""
    when = f"{memory.occurred_at:%Y-%m-%d}"
    said = memory.tier is Tier.EPISODIC
    text = f"{when}, {memory.actor or 'somebody'}: {memory.text}" if said else memory.text
    return "".join([text, *_remarks(memory, when)])


def _remarks(memory: RecalledMemory, when: str) -> Sequence[str]:
    remarks = [
        f" (until {value.valid_until:%Y-%m-%d}: {value.text})"
        for value in memory.earlier
        if value.valid_until is not None
    ]
    if memory.contradicts:
        remarks.append(f" (of {when}; another memory contradicts this)")
    return remarks
