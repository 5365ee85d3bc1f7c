"""Compaction: the deltas of finished turns become one row for each run of one type, which names the first seq that it
replaces. In the same transaction the turns are counted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from django.db import connection, transaction

from agents.journal.queries import fetch
from agents.journal.rollups import count_turns

# Marks what is to be compacted, under the locks of the sessions. A session that somebody else has locked is left for
# the next time. The condition on the turn decides who counts it: the row that was waited for is read anew.
_LOCK = "SELECT id FROM agents_agentsession WHERE id = ANY(%(sessions)s) ORDER BY id FOR NO KEY UPDATE SKIP LOCKED"
_MARK = """
UPDATE agents_turn SET compacted = true
WHERE id = ANY(%(turns)s) AND agent_session_id = ANY(%(sessions)s) AND finished_at IS NOT NULL AND NOT compacted
RETURNING id, agent_session_id
"""
# A run is a sequence of deltas of one type, turn and epoch with consecutive seqs. Its last row gets the text of all,
# the others are deleted.
_COMPACT = """
WITH deltas AS (
    SELECT e.id, e.turn_id, e.seq, coalesce(e.replaces_from, e.seq) AS first, e.type, e.epoch,
           e.data ->> 'text' AS text,
           e.seq - row_number() OVER (PARTITION BY e.turn_id, e.type, e.epoch ORDER BY e.seq) AS run
    FROM agents_event e
    WHERE e.agent_session_id = ANY(%(sessions)s) AND e.turn_id = ANY(%(turns)s)
      AND e.type IN ('message.delta', 'reasoning.delta')
), runs AS (
    SELECT max(id) FILTER (WHERE seq = last) AS keep, array_agg(id) AS ids, min(first) AS first,
           string_agg(text, '' ORDER BY seq) AS text
    FROM (SELECT *, max(seq) OVER (PARTITION BY turn_id, type, epoch, run) AS last FROM deltas) d
    GROUP BY turn_id, type, epoch, run HAVING count(*) > 1
), updated AS (
    UPDATE agents_event e SET replaces_from = r.first, data = jsonb_build_object('text', r.text)
    FROM runs r WHERE e.id = r.keep
)
DELETE FROM agents_event e USING (SELECT unnest(ids) AS id, keep FROM runs) r WHERE e.id = r.id AND e.id <> r.keep
"""


@transaction.atomic
def compact_turns(turns: Sequence[tuple[UUID, UUID]]) -> int:
    """Compact and count turns, given as pairs of session and turn, and return how many.

    Those that have not finished, that were compacted already, or whose session is gone or locked by another transaction
    at the moment are left out.
    """
    sessions = [row[0] for row in fetch(_LOCK, {"sessions": list({session for session, _ in turns})})]
    rows = fetch(_MARK, {"sessions": sessions, "turns": [turn for _, turn in turns]}) if sessions else []
    if rows:
        _compact([turn for turn, _ in rows], {session for _, session in rows})
        # Last: the counters are those of all, and their rows stay locked until the commit.
        count_turns([turn for turn, _ in rows])
    return len(rows)


def _compact(turns: list[UUID], sessions: Collection[UUID]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_COMPACT, {"turns": turns, "sessions": list(sessions)})
