"""Rewrite the pins of sessions from withdrawn releases to the live ones of their agents, in batches.

Nothing waits for it: a claim resolves such a pin by itself (`agents.journal.sql`). It is for what shows which release a
session has, and it tells those who follow a session.
"""

from __future__ import annotations

from typing import Final

import structlog

from agents.journal.json_sql import session_json
from agents.journal.queries import fetch
from agents.journal.sql import EVENTS_CHANNEL
from foundation.advisory_locks import AdvisoryLock, try_advisory_lock

log = structlog.get_logger(__name__)

BATCH: Final = 200
# A session may be begun on the release, or copied, by a transaction that is older than the withdrawal.
LATECOMER_SECONDS: Final = 60

_MOVED = session_json(
    "s",
    agent="m.slug",
    release="m.number",
    title="s.title",
    head="s.head_message_id",
)
# One batch is one transaction, so a killed process has moved its sessions with their events, or not at all. Sessions
# that somebody writes to are passed over; there is a next time. The release is compared again under the lock.
_MOVE: Final = f"""
WITH pinned AS MATERIALIZED (
    SELECT s.id, a.live_release_id, r.number, a.slug
    FROM agents_withdrawnrelease d
    JOIN agents_agent a ON a.id = d.agent_id AND a.live_release_id <> d.release_id
    JOIN agents_release r ON r.id = a.live_release_id
    JOIN agents_agentsession s ON s.release_id = d.release_id AND s.purpose = ''
    WHERE d.moved_at IS NULL
    ORDER BY s.id LIMIT %(limit)s
    FOR NO KEY UPDATE OF s SKIP LOCKED
), moved AS (
    UPDATE agents_agentsession s SET release_id = m.live_release_id, next_seq = s.next_seq + 1
    FROM pinned m WHERE s.id = m.id
    RETURNING s.id, s.next_seq - 1 AS seq, {_MOVED} AS session
), e AS (
    INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
    SELECT id, seq, NULL, 0, 'session.updated', jsonb_build_object('session', session) FROM moved
)
SELECT id, pg_notify('{EVENTS_CHANNEL}', id || ' ' || seq) FROM moved
"""  # noqa: S608 - put together from constants; values are parameters
_FINISH: Final = """
UPDATE agents_withdrawnrelease d SET moved_at = now()
WHERE d.moved_at IS NULL AND d.withdrawn_at < now() - %(latecomers)s * interval '1 second'
  AND NOT EXISTS (SELECT FROM agents_agentsession s WHERE s.release_id = d.release_id AND s.purpose = '')
RETURNING d.release_id
"""


def move_sessions(*, batch: int = BATCH, latecomer_seconds: float = LATECOMER_SECONDS) -> int:
    """Move all sessions of users that are pinned to withdrawn releases, and return how many were moved; 0 when another
    process does so. Raises database errors; what was moved before one stays moved."""
    total = 0
    with try_advisory_lock(AdvisoryLock.MOVE_SESSIONS) as acquired:
        while acquired and (moved := len(fetch(_MOVE, {"limit": batch}))):
            total += moved
        if acquired:
            fetch(_FINISH, {"latecomers": latecomer_seconds})
    if total:
        log.info("sessions.moved", sessions=total)
    return total
