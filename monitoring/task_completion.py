"""How many turns did what they were asked for, as far as can be told without reading them.

A task counts as completed if its turn completed, its answer was not rated down, nobody was asked to take over, and the
same question was not asked again within 10 minutes of the answer: in the same words, or as a branch.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from django.db import connection

from agents.journal.repeated_questions import REPEATED_TURNS
from agents.models import IN_PRODUCTION_SQL
from foundation.ids import lowest_id

# A turn that waits for nobody takes an hour at most.
_LONGEST: Final = timedelta(days=1)


class Breakdown(StrEnum):
    """What patterns are broken down by."""

    AGENT = "agent"
    RELEASE = "release"
    DAY = "day"


# Each part finds the few turns of one reason, by an index of these. Which questions were asked again is stored with the
# words of a turn; of those of the last minute, which are not stored yet, it is read.
_REFUTED: Final = f"""
WITH recent AS (
    SELECT id, agent_session_id, ordinal, fingerprint, queued_at FROM agents_turn WHERE finished_at IS NULL
    UNION ALL
    SELECT id, agent_session_id, ordinal, fingerprint, queued_at FROM agents_turn
    WHERE finished_at IS NOT NULL AND NOT compacted
), refuted AS (
    SELECT turn_id AS id FROM agents_feedback WHERE value = -1 AND id >= %(first)s AND turn_id IS NOT NULL
    UNION
    SELECT turn_id FROM agents_handoff WHERE requested_at >= %(since)s AND turn_id IS NOT NULL
    UNION
    SELECT unnest(repeated_turns) FROM agents_turntext WHERE repeated_turns IS NOT NULL AND turn_id >= %(first)s
    UNION
    SELECT repeated.id FROM recent t CROSS JOIN LATERAL ({REPEATED_TURNS}) repeated
)
SELECT {{group}}, count(*)
FROM refuted CROSS JOIN LATERAL (
    -- One look-up for each (OFFSET 0): the planner takes them for many and would read all turns.
    SELECT release_id, finished_at FROM agents_turn
    WHERE id = refuted.id AND status = 'completed' AND finished_at >= %(since)s AND finished_at < %(until)s
      AND {IN_PRODUCTION_SQL.format(row="agents_turn")}
    OFFSET 0
) turn JOIN agents_release release ON release.id = turn.release_id
WHERE (%(agent)s::uuid IS NULL OR release.agent_id = %(agent)s)
  AND (%(release)s::uuid IS NULL OR release.id = %(release)s)
GROUP BY 1
"""  # noqa: S608 - put together from constants; values are parameters
_GROUPS: Final = {
    Breakdown.AGENT: "release.agent_id",
    Breakdown.RELEASE: "turn.release_id",
    Breakdown.DAY: "date_trunc('day', turn.finished_at, 'UTC')",
}


def count_refuted(
    since: datetime,
    until: datetime,
    *,
    by: Breakdown,
    agent_id: UUID | None = None,
    release_id: UUID | None = None,
) -> Mapping[Any, int]:
    """How many turns completed between the two times although their task did not, by agent, release or day. One
    statement, which reads the turns that something speaks against."""
    params: dict[str, Any] = {
        "since": since,
        "until": until,
        "first": lowest_id(since - _LONGEST),
        "agent": agent_id,
        "release": release_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_REFUTED.format(group=_GROUPS[by]), params)
        return dict(cursor.fetchall())
