"""How agents use memory: what they stored, and how long recalls took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db import connection

from agents.models import IN_PRODUCTION_SQL
from foundation.ids import id_time_sql, lowest_id
from monitoring.task_completion import Breakdown

# Of the newest spans: they have no index by name, and there may be ten millions of them in a week.
MAX_SPANS: Final = 200_000

_STORED: Final = """
SELECT {group}, count(*)
FROM memory_memory memory JOIN memory_memoryowner owner ON owner.id = memory.owner_id
WHERE memory.id >= %(first)s AND memory.id < %(next)s AND owner.agent IS NOT NULL
  AND (%(agent)s::uuid IS NULL OR owner.agent = %(agent)s)
GROUP BY 1
"""
_STORED_GROUPS: Final = {
    Breakdown.AGENT: "owner.agent",
    Breakdown.DAY: f"date_trunc('day', {id_time_sql('memory.id')}, 'UTC')",
}
_RECALLS: Final = f"""
SELECT {{group}}, count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds)
FROM (SELECT agent_id, turn_id, name, started_at, extract(epoch FROM ended_at - started_at)::float8 AS seconds
      FROM monitoring_span WHERE started_at >= %(since)s AND started_at < %(until)s
      ORDER BY started_at DESC LIMIT %(limit)s) AS span
WHERE name = 'search_memory' AND (%(agent)s::uuid IS NULL OR agent_id = %(agent)s)
  AND NOT EXISTS (SELECT FROM agents_turn t WHERE t.id = span.turn_id AND NOT ({IN_PRODUCTION_SQL.format(row="t")}))
GROUP BY GROUPING SETS (({{group}}), ())
"""  # noqa: S608 - put together from constants; values are parameters
_RECALL_GROUPS: Final = {
    Breakdown.AGENT: "agent_id",
    Breakdown.DAY: "date_trunc('day', started_at, 'UTC')",
}


@dataclass(frozen=True, slots=True)
class AgentMemoryUse:
    """`stored`: memories of an agent's own, of its users and sessions. `recalls` are those of sampled turns, with their
    median and 95th percentile in seconds. None: it is not known, as of a release."""

    stored: int | None = None
    recalls: int | None = None
    recall_p50: float | None = None
    recall_p95: float | None = None


def group_memory_use(
    since: datetime,
    until: datetime,
    *,
    by: Breakdown,
    agent_id: UUID | None = None,
    release_id: UUID | None = None,
) -> Mapping[Any, AgentMemoryUse]:
    """The use of memory by agent or day, and with the key None that of all together; empty by release, for neither a
    memory nor a recall names one. Two statements."""
    if by is Breakdown.RELEASE or release_id is not None:
        return {}
    params: dict[str, Any] = {
        "since": since,
        "until": until,
        "first": lowest_id(since),
        "next": lowest_id(until),
        "agent": agent_id,
        "limit": MAX_SPANS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_STORED.format(group=_STORED_GROUPS[by]), params)
        stored = dict(cursor.fetchall())
        cursor.execute(_RECALLS.format(group=_RECALL_GROUPS[by]), params)
        recalls = {key: rest for key, *rest in cursor.fetchall()}
    uses = {
        key: AgentMemoryUse(stored.get(key, 0), *recalls.get(key, (0, None, None))) for key in stored.keys() | recalls
    }
    return uses | {None: AgentMemoryUse(sum(stored.values()), *recalls.get(None, (0, None, None)))}
