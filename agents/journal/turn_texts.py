"""The words of turns, for search, and which questions they ask again: written in the background, some time after a
turn's end."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from django.db import IntegrityError, transaction

from agents.journal.queries import fetch
from agents.journal.repeated_questions import REPEATED_TURNS

# A tsvector has at most 1 MiB, of words and their places. What is longer than these is cut.
MAX_PART_CHARACTERS = 50_000
MAX_CHARACTERS = 100_000

# Texts of questions and answers as people see them: without reasoning, calls of tools and their results. A turn whose
# texts are stored already is skipped; one that is gone has no row here.
STORE = f"""
INSERT INTO agents_turntext (turn_id, agent_id, document, repeated_turns)
SELECT t.id, s.agent_id, to_tsvector('simple', left(content.text, {MAX_CHARACTERS})),
       (SELECT array_agg(repeated.id) FROM ({REPEATED_TURNS}) repeated)
FROM unnest(%(turns)s::uuid[]) AS w(id)
JOIN agents_turn t ON t.id = w.id AND NOT EXISTS (SELECT FROM agents_turntext x WHERE x.turn_id = w.id)
JOIN agents_agentsession s ON s.id = t.agent_session_id AND s.purpose = ''
CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(left(p.part #>> '{{}}', {MAX_PART_CHARACTERS}), E'\\n' ORDER BY m.ordinal, p.n), '')
        AS text
    FROM agents_message m
    CROSS JOIN LATERAL jsonb_path_query(m.parts, '$[*] ? (@.type == "text").text') WITH ORDINALITY AS p(part, n)
    WHERE m.turn_id = t.id AND m.author IN ('user', 'agent')
) content
ON CONFLICT (turn_id) DO NOTHING
RETURNING turn_id
"""  # noqa: S608 - put together from constants; values are parameters


def store_turn_texts(turn_ids: Sequence[UUID]) -> int:
    """Store the words of ended turns, and return of how many; those that are stored or gone are skipped, and those that
    try something out."""
    if not turn_ids:
        return 0
    try:
        with transaction.atomic():
            return len(fetch(STORE, {"turns": list(turn_ids)}))
    except IntegrityError:
        # The session of one was deleted meanwhile; the others must not wait for it.
        return sum(map(_store_one, turn_ids))


def _store_one(turn_id: UUID) -> int:
    try:
        with transaction.atomic():
            return len(fetch(STORE, {"turns": [turn_id]}))
    except IntegrityError:
        return 0
