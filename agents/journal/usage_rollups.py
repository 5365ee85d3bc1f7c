"""What users have used by day: turns, calls for side work, their tokens and costs. Counted once, read for any days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from django.db import connection

from agents.domain.session_purposes import SessionPurpose
from agents.journal.queries import fetch

# The purpose of turns; others are those of calls for side work, and "embeddings". Whatever is called in a session that
# tries something out, turns and side work, has the purpose of that session.
TURN_PURPOSE: Final = "turn"
# The agent and the release of calls that are about no conversation.
NO_ID: Final = UUID(int=0)
# The user of calls for memories that many share.
NO_USER: Final = 0

_KEYS: Final = ("at", "agent_id", "release_id", "user_id", "purpose")
_COUNTERS: Final = ("calls", "input_tokens", "output_tokens", "cost_usd", "cost_unknown")
# Counters of rows of the alias `c`.
_COUNTS: Final = (
    "count(*), coalesce(sum(c.input_tokens), 0), coalesce(sum(c.output_tokens), 0), coalesce(sum(c.cost_usd), 0), "
    "count(*) - count(c.cost_usd)"
)
# Rows are locked in the order of their keys, so that two of these never wait for each other.
_ADD: Final = f"""
INSERT INTO agents_usagerollup AS r ({", ".join((*_KEYS, *_COUNTERS))})
SELECT {{keys}}, {_COUNTS} FROM {{rows}} GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
ON CONFLICT ({", ".join(_KEYS)})
DO UPDATE SET {", ".join(f"{name} = r.{name} + excluded.{name}" for name in _COUNTERS)}
"""  # noqa: S608 - put together from constants
_DAY: Final = "date_trunc('day', c.finished_at, 'UTC')"
# By its key for each turn, as a subquery that is no join: see `agents.journal.rollup_sql`.
_TRIED: Final = "(SELECT s.purpose FROM agents_agentsession s WHERE s.id = c.agent_session_id)"
_TURN_KEYS: Final = (
    f"{_DAY}, r.agent_id, c.release_id, c.user_id, coalesce(nullif({_TRIED}, ''), '{TURN_PURPOSE}') AS purpose"
)
_TURN_ROWS: Final = "agents_turn c JOIN agents_release r ON r.id = c.release_id"
# The INSERT that adds the ended turns of `%(turns)s`, a part of the statement that counts them.
ADD_TURNS: Final = _ADD.format(keys=_TURN_KEYS, rows=f"{_TURN_ROWS} WHERE c.id = ANY(%(turns)s::uuid[])")
_NO_ID: Final = f"'{NO_ID}'::uuid"
_COUNT_UTILITY_CALLS: Final = _ADD.format(
    keys=f"{_DAY}, coalesce(s.agent_id, {_NO_ID}), coalesce(s.release_id, {_NO_ID}), c.user_id, "
    "coalesce(nullif(s.purpose, ''), c.purpose)",
    rows="agents_utilitycall c LEFT JOIN agents_agentsession s ON s.id = c.agent_session_id"
    " WHERE c.id = ANY(%(calls)s)",
)
_COUNT_CALL: Final = _ADD.format(
    keys=f"date_trunc('day', now(), 'UTC'), coalesce(%(agent)s::uuid, {_NO_ID}), {_NO_ID}, %(user)s::int,"
    " %(purpose)s::text",
    rows="(SELECT %(input_tokens)s::int AS input_tokens, %(output_tokens)s::int AS output_tokens,"
    " %(cost_usd)s::numeric AS cost_usd) c",
)


class UsageBy(StrEnum):
    """What usage is broken down by. A user counts in each group that they are a member of now."""

    AGENT = "agent"
    RELEASE = "release"
    USER = "user"
    GROUP = "group"
    DAY = "day"
    PURPOSE = "purpose"


_GROUPS: Final = {
    UsageBy.AGENT: "c.agent_id",
    UsageBy.RELEASE: "c.release_id",
    UsageBy.USER: "c.user_id",
    UsageBy.GROUP: "g.group_id",
    UsageBy.DAY: "c.at",
    UsageBy.PURPOSE: "c.purpose",
}
_SELECTED: Final = """
    (%(agent)s::uuid IS NULL OR {agent} = %(agent)s) AND (%(release)s::uuid IS NULL OR c.release_id = %(release)s)
    AND (%(user)s::int IS NULL OR c.user_id = %(user)s)
    AND (%(group)s::int IS NULL OR c.user_id IN (SELECT m.user_id FROM accounts_user_groups m
                                                 WHERE m.group_id = %(group)s))"""
_READ: Final = f"""
WITH rows AS (
    SELECT {", ".join(f"c.{name}" for name in (*_KEYS, *_COUNTERS))} FROM agents_usagerollup c
    WHERE c.at >= %(since)s AND c.at < %(until)s AND {_SELECTED.format(agent="c.agent_id")}
    UNION ALL
    SELECT {_TURN_KEYS}, {_COUNTS} FROM {_TURN_ROWS}
    WHERE NOT c.compacted AND c.finished_at IS NOT NULL AND c.finished_at >= %(since)s AND c.finished_at < %(until)s
      AND {_SELECTED.format(agent="r.agent_id")}
    GROUP BY 1, 2, 3, 4, 5
)
SELECT {{group}}, CASE WHEN c.purpose = ANY(%(trials)s) THEN 'trial' WHEN c.purpose = '{TURN_PURPOSE}' THEN 'turn'
                       ELSE 'side' END, {", ".join(f"sum(c.{name})" for name in _COUNTERS)}
FROM rows c {{joins}} GROUP BY 1, 2 ORDER BY 1, 2
"""  # noqa: S608 - put together from constants
_MEMBERSHIPS: Final = "LEFT JOIN accounts_user_groups g ON g.user_id = c.user_id"


@dataclass(frozen=True, slots=True)
class UsageFilter:
    """Whose usage is read; None: that of all."""

    agent_id: UUID | None = None
    release_id: UUID | None = None
    user_id: int | None = None
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class UsageTotal:
    """What was used. `turns` are those of production that ended, `side_calls` calls for side work and of embeddings,
    `trial_calls` turns and side work of sessions that try something out; tokens are those of all. `cost_unknown` is how
    many of them have a cost that nobody knows: then costs are lower bounds."""

    turns: int = 0
    side_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    turn_cost_usd: Decimal = Decimal(0)
    side_cost_usd: Decimal = Decimal(0)
    cost_unknown: int = 0
    trial_calls: int = 0
    trial_cost_usd: Decimal = Decimal(0)

    @property
    def cost_usd(self) -> Decimal:
        return self.turn_cost_usd + self.side_cost_usd + self.trial_cost_usd

    def __add__(self, other: UsageTotal) -> UsageTotal:
        return UsageTotal(
            self.turns + other.turns,
            self.side_calls + other.side_calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.turn_cost_usd + other.turn_cost_usd,
            self.side_cost_usd + other.side_cost_usd,
            self.cost_unknown + other.cost_unknown,
            self.trial_calls + other.trial_calls,
            self.trial_cost_usd + other.trial_cost_usd,
        )


def count_usage_of_utility_calls(call_ids: Sequence[int]) -> None:
    """Add calls for side work that have just ended, in the transaction that ends them."""
    _execute(_COUNT_UTILITY_CALLS, {"calls": list(call_ids)})


def count_usage_of_call(
    *,
    user_id: int,
    agent_id: UUID | None,
    purpose: str,
    input_tokens: int | None,
    output_tokens: int | None,
    cost_usd: Decimal | None,
) -> None:
    """Add a call that has no row of its own, such as one of embeddings; None for what is unknown."""
    _execute(
        _COUNT_CALL,
        {
            "user": user_id,
            "agent": agent_id,
            "purpose": purpose,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cost_usd": cost_usd,
        },
    )


def read_usage(
    since: datetime, until: datetime, *, by: UsageBy | None, of: UsageFilter
) -> dict[UUID | int | datetime | str | None, UsageTotal]:
    """The usage from `since` to before `until`, each the beginning of a day in UTC, by the id of an agent, a release, a
    user or a group (None: in no group), by day or by purpose; without `by` all of it under None. What has no agent or
    release is under `NO_ID`. One statement, so that no turn is missed or counted twice."""
    statement = _READ.format(
        group=_GROUPS[by] if by else "NULL::int", joins=_MEMBERSHIPS if by is UsageBy.GROUP else ""
    )
    params: dict[str, Any] = {
        "since": since,
        "until": until,
        "agent": of.agent_id,
        "release": of.release_id,
        "user": of.user_id,
        "group": of.group_id,
        "trials": [purpose.value for purpose in SessionPurpose if purpose],
    }
    usage: dict[UUID | int | datetime | str | None, UsageTotal] = {}
    for key, kind, calls, input_tokens, output_tokens, cost, unknown in fetch(statement, params):
        one = UsageTotal(
            turns=int(calls) if kind == "turn" else 0,
            side_calls=int(calls) if kind == "side" else 0,
            trial_calls=int(calls) if kind == "trial" else 0,
            input_tokens=int(input_tokens),
            output_tokens=int(output_tokens),
            turn_cost_usd=cost if kind == "turn" else Decimal(0),
            side_cost_usd=cost if kind == "side" else Decimal(0),
            trial_cost_usd=cost if kind == "trial" else Decimal(0),
            cost_unknown=int(unknown),
        )
        usage[key] = usage.get(key, UsageTotal()) + one
    return usage


def _execute(statement: str, params: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
