"""How many turns did what they were asked for, as far as can be told without reading them.

A task counts as completed if its turn completed, its answer was not rated down, nobody was asked to take over, and the
same question was not asked again within 10 minutes of the answer: in the same words right after it, or as a branch.
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
# A turn of which a person is not waited for takes an hour at most.
_LONGEST: Final = timedelta(days=1)


class Grouping(StrEnum):
    """What patterns are broken down by."""

    AGENT = "agent"
    RELEASE = "release"
    DAY = "day"


# Each part finds the few turns of one reason. The third one finds branches by what they follow: the roots of a session
# follow nothing, for which its id stands.
_REFUTED: Final = """
WITH refuted AS (
    SELECT turn_id AS id FROM agents_feedback WHERE value = -1 AND created_at >= %(since)s AND turn_id IS NOT NULL
    UNION
    SELECT turn_id FROM agents_handoff WHERE requested_at >= %(since)s AND turn_id IS NOT NULL
    UNION
    SELECT answered.id
    FROM agents_message later
    JOIN agents_message earlier
      ON coalesce(earlier.parent_id, earlier.agent_session_id) = coalesce(later.parent_id, later.agent_session_id)
    JOIN agents_turn answered ON answered.id = earlier.turn_id
    WHERE later.author = 'user' AND later.id >= %(first)s AND earlier.author = 'user' AND earlier.id >= %(first)s
      AND earlier.agent_session_id = later.agent_session_id AND earlier.ordinal < later.ordinal
      AND later.created_at <= answered.finished_at + %(asked_again)s
    UNION
    SELECT id FROM (
        SELECT id, finished_at, fingerprint, lead(fingerprint) OVER of_session AS next_fingerprint,
               lead(queued_at) OVER of_session AS next_at
        FROM agents_turn WHERE id >= %(first)s
        WINDOW of_session AS (PARTITION BY agent_session_id ORDER BY ordinal)
    ) AS asked
    WHERE next_fingerprint = fingerprint AND fingerprint <> '' AND next_at <= finished_at + %(asked_again)s
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
    statement, which reads all turns and questions of that time."""
    params: dict[str, Any] = {
        "since": since,
        "until": until,
        "first": lowest_id(since - _LONGEST),
        "asked_again": ASKED_AGAIN,
        "agent": agent_id,
        "release": release_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_REFUTED.format(group=_GROUPS[by]), params)
        return dict(cursor.fetchall())
