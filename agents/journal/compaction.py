"""Compaction: the deltas of finished turns become one row for each run of one type, which names the first seq that it
replaces."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from agents.journal.locked_writes import try_lock_session
from agents.models import Turn

# A run is a sequence of deltas of one type, turn and epoch with consecutive seqs. Its last row gets the text of all,
# the others are deleted.
COMPACT = """
WITH deltas AS (
    SELECT id, seq, coalesce(replaces_from, seq) AS first, type, epoch, data ->> 'text' AS text,
           seq - row_number() OVER (PARTITION BY type, epoch ORDER BY seq) AS run
    FROM agents_event
    WHERE agent_session_id = %(session)s AND turn_id = %(turn)s AND type IN ('message.delta', 'reasoning.delta')
), runs AS (
    SELECT max(id) FILTER (WHERE seq = last) AS keep, array_agg(id) AS ids, min(first) AS first,
           string_agg(text, '' ORDER BY seq) AS text
    FROM (SELECT *, max(seq) OVER (PARTITION BY type, epoch, run) AS last FROM deltas) d
    GROUP BY type, epoch, run HAVING count(*) > 1
), updated AS (
    UPDATE agents_event e SET replaces_from = r.first, data = jsonb_build_object('text', r.text)
    FROM runs r WHERE e.id = r.keep
)
DELETE FROM agents_event e USING runs r WHERE e.id = ANY(r.ids) AND e.id <> r.keep
"""


def compact_turn(session_id: UUID, turn_id: UUID) -> bool:
    """Compact the deltas of one turn under its session's lock; False when the turn has not finished, or when another
    transaction holds the lock at the moment."""
    with transaction.atomic():
        if try_lock_session(session_id) is None:
            return False
        if not Turn.objects.filter(pk=turn_id, finished_at__isnull=False).update(compacted=True):
            return False
        with connection.cursor() as cursor:
            cursor.execute(COMPACT, {"session": session_id, "turn": turn_id})
    return True
