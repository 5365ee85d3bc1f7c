"""Episodic memory: what was said, verbatim, each message once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from psycopg.types.json import Jsonb

from foundation.ids import new_id
from foundation.storable_text import storable_text
from memory.enums import Tier, Trust
from memory.ownership import OwnerKey, get_or_create_owner
from memory.writing.eviction import evict_if_due
from memory.writing.facts import lock_owner
from memory.writing.new_memory import Provenance, clean_speaker, episode_key
from memory.writing.statements import STORE_EPISODES, run
from memory.writing.text_splitting import split_text

# Of each of the two predecessors, whose words help to find an episode.
_PREDECESSORS = 2
_PREDECESSOR_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class NewEpisode:
    """One message: who said it, when, and its position in the conversation."""

    message_id: UUID
    speaker: str
    text: str
    occurred_at: datetime
    position: int


def remember_episodes(
    owner: OwnerKey,
    episodes: Sequence[NewEpisode],
    *,
    provenance: Provenance,
    predecessors: Sequence[str] = (),
    trust: Trust = Trust.DEFAULT,
) -> list[UUID]:
    """Remember messages of one conversation, oldest first, and return the ids of the new memories. A message that is
    remembered already is skipped.

    `provenance.session` is the conversation; `predecessors` are the texts of the messages before the first of these.
    For the platform itself: nobody is asked, and no bytes are counted, for messages were counted when they were sent.
    """
    rows = _rows(episodes, list(predecessors)[-_PREDECESSORS:])
    if not rows:
        return []
    with transaction.atomic():
        owner_id = get_or_create_owner(owner)
        # The same order of locks as for facts: the owner's row first.
        lock_owner(owner_id)
        params = {
            "rows": Jsonb(rows),
            "owner": owner_id,
            "agent": provenance.agent,
            "session": provenance.session,
            "turn": provenance.turn,
            "trust": trust.value,
            "language": settings.BANDSTAND.memory_language,
        }
        ids = [row[0] for row in run(STORE_EPISODES, params)]
        if ids:
            evict_if_due(owner_id, Tier.EPISODIC, lock_owner(owner_id, count=len(ids)), added=len(ids))
    return ids


def _rows(episodes: Sequence[NewEpisode], predecessors: list[str]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    preceding = [text[-_PREDECESSOR_CHARACTERS:] for text in predecessors]
    for episode in episodes:
        chunks = split_text(storable_text(episode.text))
        for number, chunk in enumerate(chunks):
            rows.append(
                {
                    "id": str(new_id()),
                    "text": chunk,
                    "context": "\n".join([*preceding[-_PREDECESSORS:], chunk]),
                    "speaker": clean_speaker(episode.speaker),
                    "occurred_at": episode.occurred_at.isoformat(),
                    "position": episode.position,
                    "message": str(episode.message_id),
                    "dedup": episode_key(episode.message_id, number).hex(),
                    "metadata": {"chunk": number + 1, "chunks": len(chunks)} if len(chunks) > 1 else {},
                }
            )
            preceding.append(chunk[-_PREDECESSOR_CHARACTERS:])
    return rows
