"""The statement that reads the texts of candidates, and what they superseded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from django.db import connection

from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.recall.ranking import CandidateText
from memory.recall.recollection import EarlierValue, RecalledMemory

MAX_EARLIER: Final = 3

# By owner, too: that no row of another can be read does not rest on the ids alone.
_TEXTS = f"""
WITH c AS MATERIALIZED (
    SELECT m.* FROM memory_memory m WHERE m.id = ANY(%(ids)s) AND m.owner_id = ANY(%(owners)s)
)
SELECT c.id, b.text, c.tier, o.scope, b.source, c.trust, c.actor, c.slot, c.occurred_at, c.created_at, c.valid_from,
       c.valid_until, b.metadata, b.session, b.message,
       (SELECT jsonb_agg(jsonb_build_array(p.id, e.text, p.valid_until) ORDER BY p.valid_until DESC)
        FROM (SELECT id, valid_until FROM memory_memory WHERE superseded_by_id = c.id AND trust >= %(trust)s
                AND valid_from < c.valid_from  -- what was corrected never held
              ORDER BY valid_until DESC LIMIT {MAX_EARLIER}) p JOIN memory_memorybody e ON e.memory_id = p.id)
FROM c JOIN memory_memorybody b ON b.memory_id = c.id JOIN memory_memoryowner o ON o.id = c.owner_id
"""


def read_texts(memory_ids: Sequence[UUID], owners: Sequence[int]) -> dict[UUID, CandidateText]:
    """The memories of `owners` among `memory_ids`, their scores 0; one statement."""
    params: dict[str, Any] = {"ids": list(memory_ids), "owners": list(owners), "trust": Trust.DEFAULT.value}
    with connection.cursor() as cursor:
        cursor.execute(_TEXTS, params)
        return {row[0]: _text(*row) for row in cursor.fetchall()}


def _text(  # noqa: PLR0917 - the columns of the statement, in their order
    memory_id: UUID,
    text: str,
    tier: str,
    scope: str,
    source: str,
    trust: int,
    actor: str,
    slot: str,
    occurred_at: datetime,
    created_at: datetime,
    valid_from: datetime,
    valid_until: datetime | None,
    metadata: str,
    session: UUID | None,
    message: UUID | None,
    earlier: str | None,
) -> CandidateText:
    memory = RecalledMemory(
        id=memory_id,
        text=text,
        score=0.0,
        tier=Tier(tier),
        scope=MemoryScope(scope),
        source=MemorySource(source),
        trust=Trust(trust),
        actor=actor,
        slot=slot,
        occurred_at=occurred_at,
        created_at=created_at,
        valid_from=valid_from,
        valid_until=valid_until,
        metadata=orjson.loads(metadata),
        session=session,
        message=message,
        earlier=tuple(
            EarlierValue(UUID(key), value, None if until is None else datetime.fromisoformat(until))
            for key, value, until in (orjson.loads(earlier) if earlier else ())
        ),
    )
    return CandidateText(memory)
