"""The statements that store memories: each inserts rows of several tables at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import connection

# --- owners -----------------------------------------------------------------------------------------------------------
# Its row is the lock of everything that is written for it, so that a fact that is told twice at once is stored once. It
# is taken before the rows of memories, and several by their ids.
LOCK_OWNER = """
UPDATE memory_memoryowner SET memories = memories + %(count)s WHERE id = %(owner)s RETURNING memories
"""

LOCK_OWNERS = """
SELECT o.id FROM memory_memoryowner o
WHERE o.id IN (SELECT m.owner_id FROM memory_memory m WHERE m.id = ANY(%(ids)s)) ORDER BY o.id FOR NO KEY UPDATE
"""

# --- facts ------------------------------------------------------------------------------------------------------------
# `same` is what holds the digest already. Where it still holds, nothing else is written. Where it does not (it has
# expired, say), it gives up the digest. `closed` is what the new fact supersedes: the present value of its slot, and
# what it corrects. Each later part counts an earlier one, which makes PostgreSQL run them in this order: the unique
# indexes look at rows as they are at that moment.
STORE_FACT = """
WITH same AS MATERIALIZED (
    SELECT m.id, m.trust, m.superseded_by_id IS NULL AND (m.valid_until IS NULL OR m.valid_until > now())
                      AND (m.expires_at IS NULL OR m.expires_at > now()) AS holds
    FROM memory_memorybody b JOIN memory_memory m ON m.id = b.memory_id
    WHERE b.owner_id = %(owner)s AND b.dedup_key = %(dedup)s
), released AS (
    UPDATE memory_memorybody b SET dedup_key = NULL FROM same s WHERE b.memory_id = s.id AND NOT s.holds
    RETURNING b.memory_id
), closed AS (
    UPDATE memory_memory m
    SET superseded_by_id = %(id)s, valid_until = least(coalesce(m.valid_until, now()), now()), version = m.version + 1
    WHERE m.owner_id = %(owner)s AND %(trust)s >= 2 AND m.superseded_by_id IS NULL
      AND (m.id = %(supersedes)s::uuid
           OR %(slot)s <> '' AND m.slot = %(slot)s AND m.valid_until IS NULL AND m.trust >= 2)
      AND NOT EXISTS (SELECT FROM same WHERE holds)
    RETURNING m.id
), closed_bodies AS (
    UPDATE memory_memorybody b SET dedup_key = NULL FROM closed c WHERE b.memory_id = c.id RETURNING b.memory_id
), body AS (
    INSERT INTO memory_memorybody (memory_id, owner_id, text, metadata, source, agent, session, turn, message, step,
                                   origin, dedup_key)
    SELECT %(id)s, %(owner)s, %(text)s, %(metadata)s, %(source)s, %(agent)s, %(session)s, %(turn)s, %(message)s,
           %(step)s, %(origin)s, %(dedup)s
    WHERE NOT EXISTS (SELECT FROM same WHERE holds)
      AND (SELECT count(*) FROM released) + (SELECT count(*) FROM closed_bodies) >= 0
    RETURNING memory_id
), new AS (
    INSERT INTO memory_memory (id, owner_id, tier, actor, occurred_at, slot, words, context_words, trust, valid_from,
                               expires_at, importance, hits)
    SELECT b.memory_id, %(owner)s, 'long_term', %(speaker)s, coalesce(%(occurred_at)s, now()), %(slot)s,
           to_tsvector(%(language)s::regconfig, %(text)s), to_tsvector(%(language)s::regconfig, %(text)s), %(trust)s,
           coalesce(%(valid_from)s, now()), %(expires_at)s, %(importance)s, 0
    FROM body b WHERE (SELECT count(*) FROM closed) >= 0
    RETURNING id
)
SELECT (SELECT id FROM new), (SELECT id FROM same WHERE holds), (SELECT trust FROM same WHERE holds),
       ARRAY(SELECT id FROM closed)
"""

# --- episodes ---------------------------------------------------------------------------------------------------------
# The unique digest decides which of them are new.
STORE_EPISODES = """
WITH new AS MATERIALIZED (
    SELECT (r ->> 'id')::uuid AS id, r ->> 'text' AS text, r ->> 'context' AS context, r ->> 'speaker' AS speaker,
           (r ->> 'occurred_at')::timestamptz AS occurred_at, (r ->> 'position')::int AS position,
           (r ->> 'message')::uuid AS message, decode(r ->> 'dedup', 'hex') AS dedup, r -> 'metadata' AS metadata
    FROM jsonb_array_elements(%(rows)s::jsonb) AS r
), bodies AS (
    INSERT INTO memory_memorybody (memory_id, owner_id, text, metadata, source, agent, session, turn, message, step,
                                   origin, dedup_key)
    SELECT n.id, %(owner)s, n.text, n.metadata, 'turn', %(agent)s, %(session)s, %(turn)s, n.message, NULL, '', n.dedup
    FROM new n
    ON CONFLICT (owner_id, dedup_key) DO NOTHING
    RETURNING memory_id
), memories AS (
    INSERT INTO memory_memory (id, owner_id, tier, actor, occurred_at, thread, position, slot, words, context_words,
                               trust, valid_from, importance, hits)
    SELECT n.id, %(owner)s, 'episodic', n.speaker, n.occurred_at, %(session)s, n.position, '',
           to_tsvector(%(language)s::regconfig, n.text), to_tsvector(%(language)s::regconfig, n.context), %(trust)s,
           n.occurred_at, 0.5, 0
    FROM new n JOIN bodies b ON b.memory_id = n.id
    RETURNING id
)
SELECT id FROM memories
"""

# --- erasure ----------------------------------------------------------------------------------------------------------
# What was made of them goes too, and with `versions` the older values that they superseded.
CLOSURE = """
WITH RECURSIVE gone(id) AS (
    SELECT m.id FROM memory_memory m WHERE m.id = ANY(%(ids)s)
    UNION
    SELECT x.id FROM gone g CROSS JOIN LATERAL (
        SELECT d.memory_id AS id FROM memory_memoryderivation d WHERE d.origin_id = g.id
        UNION ALL
        SELECT p.id FROM memory_memory p WHERE %(versions)s AND p.superseded_by_id = g.id
    ) x
)
SELECT id FROM gone ORDER BY id
"""
DERIVED = """
WITH RECURSIVE derived(id) AS (
    SELECT d.memory_id FROM memory_memoryderivation d WHERE d.origin_id = ANY(%(ids)s)
    UNION
    SELECT d.memory_id FROM derived g JOIN memory_memoryderivation d ON d.origin_id = g.id
)
SELECT id FROM derived ORDER BY id
"""
# The constraints are checked at the commit, so the order of the parts does not matter.
ERASE = """
WITH gone AS MATERIALIZED (
    SELECT id, owner_id FROM memory_memory WHERE id = ANY(%(ids)s) ORDER BY id FOR UPDATE
), freed AS (
    UPDATE memory_memory SET superseded_by_id = NULL
    WHERE superseded_by_id = ANY(%(ids)s) AND NOT id = ANY(%(ids)s)
), keys AS (
    DELETE FROM memory_memorykey WHERE memory_id = ANY(%(ids)s)
), derivations AS (
    DELETE FROM memory_memoryderivation WHERE memory_id = ANY(%(ids)s) OR origin_id = ANY(%(ids)s)
), pairs AS (
    DELETE FROM memory_similarpair WHERE first_id = ANY(%(ids)s) OR second_id = ANY(%(ids)s)
), bodies AS (
    DELETE FROM memory_memorybody WHERE memory_id = ANY(%(ids)s)
), counts AS (
    UPDATE memory_memoryowner o SET memories = greatest(o.memories - g.count, 0)
    FROM (SELECT owner_id, count(*)::int AS count FROM gone GROUP BY owner_id) g WHERE o.id = g.owner_id
)
DELETE FROM memory_memory m USING gone g WHERE m.id = g.id RETURNING m.id
"""
# What a memory had superseded holds again, unless its slot has another value by now; of several of one slot, the
# newest. Its digest comes back by the caller, who knows the text.
REOPEN = """
UPDATE memory_memory p SET superseded_by_id = NULL, valid_until = NULL, version = p.version + 1
WHERE p.superseded_by_id = ANY(%(ids)s) AND NOT p.id = ANY(%(ids)s) AND p.tier = 'long_term'
  AND NOT EXISTS (SELECT FROM memory_memory n
                  WHERE n.owner_id = p.owner_id AND n.slot = p.slot AND p.slot <> '' AND n.id > p.id
                    AND n.superseded_by_id = ANY(%(ids)s) AND NOT n.id = ANY(%(ids)s))
  AND NOT EXISTS (SELECT FROM memory_memory c
                  WHERE c.owner_id = p.owner_id AND c.slot = p.slot AND p.slot <> '' AND c.superseded_by_id IS NULL
                    AND c.valid_until IS NULL AND c.trust >= 2 AND NOT c.id = ANY(%(ids)s))
RETURNING p.id
"""


def run(statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The rows of one statement."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
