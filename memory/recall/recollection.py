"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from memory.enums import MemoryScope, MemorySource, Tier, Trust


@dataclass(frozen=True, slots=True)
class EarlierValue:
    """What a memory superseded, and until when that held."""

    id: UUID
    text: str
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class RecalledMemory:
    """A memory with its score. `signals` is what each signal adds to it, where it was asked for.

    `duplicates` are older memories that say the same and are left out; `contradicts` are others of the same recall that
    give the same fact another value; `earlier` are the values that this one superseded, newest first.
    """

    id: UUID
    text: str
    score: float
    tier: Tier
    scope: MemoryScope
    source: MemorySource
    trust: Trust
    actor: str
    slot: str
    occurred_at: datetime
    created_at: datetime
    valid_from: datetime
    valid_until: datetime | None
    metadata: Mapping[str, Any]
    session: UUID | None
    message: UUID | None
    signals: Mapping[str, float] = field(default_factory=dict)
    duplicates: tuple[UUID, ...] = ()
    contradicts: tuple[UUID, ...] = ()
    earlier: tuple[EarlierValue, ...] = ()


@dataclass(frozen=True, slots=True)
class Recall:
    """`memories` are the best, best first. `low_confidence`: none is near the question. `by_text_only`: no vectors
    could be compared, because the embedder does not answer or nothing has vectors yet."""

    memories: tuple[RecalledMemory, ...] = ()
    low_confidence: bool = True
    by_text_only: bool = True
