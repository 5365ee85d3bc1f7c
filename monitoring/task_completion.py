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

from foundation.ids import lowest_id

ASKED_AGAIN: Final = timedelta(minutes=10)
# A turn that waits for nobody takes an hour at most.
_LONGEST: Final = timedelta(days=1)
# How long before a question what it follows was said, at most.
_OLDEST_PARENT: Final = timedelta(days=7)


class Grouping(StrEnum):
    """What patterns are broken down by."""

    AGENT = "agent"
    RELEASE = "release"
    DAY = "day"


# Each part finds the few turns of one reason. Branches are found by what several messages follow, which an index has in
# the order of time; questions that begin a conversation follow nothing.
_REFUTED: Final = """
WITH branched AS (
    SELECT parent_id FROM agents_message WHERE parent_id >= %(first_parent)s GROUP BY parent_id HAVING count(*) > 1
), question AS (
    SELECT message.turn_id, message.agent_session_id, message.parent_id, message.ordinal, message.created_at
    FROM branched JOIN agents_message message USING (parent_id) WHERE message.author = 'user'
    UNION ALL
    SELECT turn_id, agent_session_id, parent_id, ordinal, created_at
    FROM agents_message WHERE parent_id IS NULL AND author = 'user' AND id >= %(first)s
), refuted AS (
    SELECT turn_id AS id FROM agents_feedback WHERE value = -1 AND id >= %(first)s AND turn_id IS NOT NULL
    UNION
    SELECT turn_id FROM agents_handoff WHERE requested_at >= %(since)s AND turn_id IS NOT NULL
    UNION
    SELECT answered.id
    FROM question earlier JOIN question later USING (agent_session_id)
    JOIN agents_turn answered ON answered.id = earlier.turn_id
    WHERE earlier.parent_id IS NOT DISTINCT FROM later.parent_id AND earlier.ordinal < later.ordinal
      AND later.created_at <= answered.finished_at + %(asked_again)s
    UNION
    SELECT earlier.id
    FROM agents_turn earlier JOIN agents_turn later USING (agent_session_id, fingerprint)
    WHERE earlier.id >= %(first)s AND later.id >= %(first)s AND fingerprint <> ''
      AND earlier.ordinal < later.ordinal AND later.queued_at <= earlier.finished_at + %(asked_again)s
)
SELECT {group}, count(*)
FROM refuted JOIN agents_turn turn USING (id) JOIN agents_release release ON release.id = turn.release_id
WHERE turn.status = 'completed' AND turn.finished_at >= %(since)s AND turn.finished_at < %(until)s
  AND (%(agent)s::uuid IS NULL OR release.agent_id = %(agent)s)
  AND (%(release)s::uuid IS NULL OR release.id = %(release)s)
GROUP BY 1
"""
_GROUPS: Final = {
    Grouping.AGENT: "release.agent_id",
    Grouping.RELEASE: "turn.release_id",
    Grouping.DAY: "date_trunc('day', turn.finished_at, 'UTC')",
}


def count_refuted(
    since: datetime,
    until: datetime,
    *,
    by: Grouping,
    agent_id: UUID | None = None,
    release_id: UUID | None = None,
) -> Mapping[Any, int]:
    """How many turns completed between the two times although their task did not, by agent, release or day. One
    statement, which reads all turns of that time."""
    params: dict[str, Any] = {
        "since": since,
        "until": until,
        "first": lowest_id(since - _LONGEST),
        "first_parent": lowest_id(since - _OLDEST_PARENT),
        "asked_again": ASKED_AGAIN,
        "agent": agent_id,
        "release": release_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_REFUTED.format(group=_GROUPS[by]), params)
        return dict(cursor.fetchall())
