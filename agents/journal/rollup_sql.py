"""The SQL of rollups: how turns and their steps are counted, and how counters are added up.

One text says what a turn counts as, for the rollups and for the live tail, those ended turns that are in no rollup yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from agents.domain.duration_buckets import BUCKET_COUNT, DURATION_BOUNDS
from agents.journal.usage_rollups import ADD_TURNS
from agents.models import IN_PRODUCTION_SQL

# Half a microsecond less, the unit of the timestamps: bounds are inclusive, and width_bucket takes them as exclusive.
_BOUNDS: Final = f"ARRAY[{', '.join(map(str, DURATION_BOUNDS))}]::float8[]"
_BUCKET: Final = f"width_bucket({{}} - 0.0000005, {_BOUNDS})"
# The ends of the names of counters that are no whole numbers.
_FRACTIONS: Final = ("seconds", "percent", "cost_usd")


@dataclass(frozen=True, slots=True)
class Rollup:
    """A table of counters. `keys` tell its rows apart, beside their width and time; `counters` say how each column is
    counted, over the rows of `facts`."""

    table: str
    facts: str
    keys: tuple[str, ...]
    counters: Mapping[str, str]


def _histogram(bucket: str) -> str:
    counts = ", ".join(f"count(*) FILTER (WHERE {bucket} = {number})" for number in range(BUCKET_COUNT))
    return f"ARRAY[{counts}]::int[]"


TURNS: Final = Rollup(
    table="agents_turnrollup",
    facts="turn_facts",
    keys=("agent_id", "release_id", "status", "error_class"),
    counters={
        "turns": "count(*)",
        "seconds": "sum(seconds)",
        "min_seconds": "min(seconds)",
        "max_seconds": "max(seconds)",
        "seconds_buckets": _histogram("seconds_bucket"),
        "queue_seconds": "coalesce(sum(queue), 0)",
        "queue_buckets": _histogram("queue_bucket"),
        "first_token_seconds": "coalesce(sum(first_token), 0)",
        "first_token_buckets": _histogram("first_token_bucket"),
        "added_seconds": "sum(added)",
        "added_buckets": _histogram("added_bucket"),
        "input_tokens": "coalesce(sum(input_tokens), 0)",
        "output_tokens": "coalesce(sum(output_tokens), 0)",
        "cost_usd": "coalesce(sum(cost_usd), 0)",
        "cost_unknown": "count(*) - count(cost_usd)",
        "fallbacks": "count(fallback)",
    },
)
CALLS: Final = Rollup(
    table="agents_callrollup",
    facts="call_facts",
    keys=("agent_id", "release_id", "operation", "name", "error_class"),
    counters={
        "calls": "count(*)",
        "seconds": "sum(seconds)",
        "min_seconds": "min(seconds)",
        "max_seconds": "max(seconds)",
        "seconds_buckets": _histogram("seconds_bucket"),
        "first_token_seconds": "coalesce(sum(first_token), 0)",
        "first_token_buckets": _histogram("first_token_bucket"),
        "input_tokens": "coalesce(sum(input_tokens), 0)",
        "output_tokens": "coalesce(sum(output_tokens), 0)",
        "cost_usd": "coalesce(sum(cost_usd), 0)",
        "context_percent": "coalesce(sum(context_percent), 0)",
        "max_context_percent": "coalesce(max(context_percent), 0)",
        "context_calls": "count(context_percent)",
    },
)

# Models invent tools: a name that the release does not have does not become a key, for keys stay, and there is no end
# of such names. `covered` is the time in which no earlier step was open, too. When a call was repeated or has waited,
# its row does not say when it was sent, and its first token came at its end at the latest. `asked`: when a person
# decided about the call and when it was made then; the time up to there is nobody's, and one of those that were asked
# for together (`started_at`) has it as `waited`.
_STEPS: Final = """
    SELECT p.kind AS operation, p.finished_at AS step_ended_at, p.input_tokens AS step_input_tokens,
           CASE WHEN p.kind <> 'tool' OR t.tools ? p.name THEN p.name ELSE '' END AS name,
           p.output_tokens AS step_output_tokens, p.cost_usd AS step_cost_usd,
           CASE WHEN p.status = 'done' THEN '' WHEN p.error_class = '' THEN 'unknown' ELSE p.error_class END
               AS step_error_class,
           greatest(0, date_part('epoch', p.finished_at - CASE WHEN p.asked IS NULL THEN p.started_at
                                                               ELSE coalesce(p.asked[2], p.finished_at) END))
               AS step_seconds,
           CASE WHEN p.asked IS NOT NULL AND row_number() OVER together = 1
                THEN greatest(0, date_part('epoch', max(p.asked[1]) OVER together - p.started_at)) END AS waited,
           greatest(0, date_part('epoch', p.finished_at - greatest(p.started_at, max(p.finished_at) OVER (
               ORDER BY p.started_at, p.number ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)))) AS covered,
           (p.details ->> 'first_token_seconds')::float8 AS step_first_token,
           CASE WHEN p.details -> 'first_token_seconds' IS NULL THEN NULL
                WHEN p.epoch < t.epoch OR p.details -> 'waits' IS NOT NULL THEN p.finished_at
                ELSE p.started_at + make_interval(secs => (p.details ->> 'first_token_seconds')::float8
                                                          + coalesce((p.details ->> 'pause_seconds')::float8, 0))
           END AS first_token_at,
           100 * coalesce(p.input_tokens,
                          (SELECT sum(n.value::int) FROM jsonb_each_text(p.details #> '{context,tokens}') n))::float8
               / nullif((p.details #>> '{context,window}')::float8, 0) AS context_percent
    FROM (
        SELECT p.*, CASE WHEN p.details #>> '{right,decision}' = 'ask' THEN (
            SELECT ARRAY[a.decided_at, a.used_at] FROM agents_approval a WHERE a.turn_id = t.id AND a.step = p.number
        ) END AS asked
        FROM agents_step p WHERE p.turn_id = t.id AND p.finished_at IS NOT NULL
        OFFSET 0
    ) p
    WINDOW together AS (PARTITION BY p.asked IS NULL, p.started_at ORDER BY p.number
                        ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    OFFSET 0
"""
_TURN: Final = (
    "t.id, t.agent_id, t.release_id, t.status, t.error_class, t.ended_at, t.whole_seconds, t.queue, t.input_tokens, "
    "t.output_tokens, t.cost_usd, t.fallback, t.queued_at"
)


def _facts(turns: str) -> str:
    """The parts of a WITH: `turn_facts` and `call_facts`, one row for each of the turns that the condition `turns`
    selects, and for each of their steps. Turns that try something out are not among them.

    The planner knows little of how many turns those are. So nothing here is joined that it could join in a bad way:
    steps are looked up by the keys of their turns (OFFSET 0 keeps it from doing otherwise), and grouped again by all
    columns of these.
    """
    return f"""
t AS (
    SELECT t.id, r.agent_id, t.release_id, t.status, t.error_class, t.finished_at AS ended_at, t.queued_at, t.epoch,
           greatest(0, date_part('epoch', t.finished_at - t.queued_at)) AS whole_seconds,
           CASE WHEN t.started_at IS NOT NULL THEN greatest(0, date_part('epoch', t.started_at - t.queued_at))
           END AS queue, t.input_tokens, t.output_tokens, t.cost_usd, t.fallback, r.configuration -> 'tools' AS tools
    FROM agents_turn t JOIN agents_release r ON r.id = t.release_id
    WHERE {turns} AND {IN_PRODUCTION_SQL.format(row="t")}
), s AS MATERIALIZED (
    SELECT {_TURN}, p.* FROM t LEFT JOIN LATERAL ({_STEPS}) p ON true
), call_facts AS (
    SELECT agent_id, release_id, operation, name, step_error_class AS error_class, step_ended_at AS ended_at,
           step_seconds AS seconds, step_first_token AS first_token, step_input_tokens AS input_tokens,
           step_output_tokens AS output_tokens, step_cost_usd AS cost_usd, context_percent,
           {_BUCKET.format("step_seconds")} AS seconds_bucket,
           {_BUCKET.format("step_first_token")} AS first_token_bucket
    FROM s WHERE operation IS NOT NULL
), turn_facts AS (
    SELECT f.*, {_BUCKET.format("seconds")} AS seconds_bucket, {_BUCKET.format("queue")} AS queue_bucket,
           {_BUCKET.format("first_token")} AS first_token_bucket, {_BUCKET.format("added")} AS added_bucket
    FROM (
        SELECT {_TURN}, greatest(0, t.whole_seconds - coalesce(sum(t.waited), 0)) AS seconds,
               greatest(0, t.whole_seconds - coalesce(sum(t.covered), 0)) AS added,
               CASE WHEN min(t.first_token_at) IS NOT NULL
                    THEN greatest(0, date_part('epoch', min(t.first_token_at) - t.queued_at)) END AS first_token
        FROM s t GROUP BY {_TURN}
    ) f
)"""


# Minutes and hours that nobody will read any more are not counted.
_WIDTHS: Final = """
    ('minute', now() - %(minutes_reach)s), ('hour', now() - %(hours_reach)s), ('day', '-infinity'::timestamptz),
    ('total', '-infinity')
"""


def _add(rollup: Rollup) -> str:
    """The INSERT that adds the facts to the rows of their minutes, hours and days, and to the totals. Rows are
    locked in the order of their keys, so that two of these never wait for each other."""
    keys = ("width", "at", *rollup.keys)
    return f"""
INSERT INTO {rollup.table} AS r ({", ".join((*keys, *rollup.counters))})
SELECT w.width, CASE w.width WHEN 'total' THEN 'epoch' ELSE date_trunc(w.width, ended_at, 'UTC') END AS at,
       {", ".join((*rollup.keys, *rollup.counters.values()))}
FROM {rollup.facts} JOIN (VALUES {_WIDTHS}) w(width, since) ON ended_at >= w.since
GROUP BY {", ".join(map(str, range(1, len(keys) + 1)))} ORDER BY {", ".join(map(str, range(1, len(keys) + 1)))}
ON CONFLICT ({", ".join(keys)}) DO UPDATE SET {", ".join(f"{name} = {_sum(name)}" for name in rollup.counters)}
"""


def _sum(counter: str) -> str:
    if counter.startswith("min_"):
        return f"least(r.{counter}, excluded.{counter})"
    if counter.startswith("max_"):
        return f"greatest(r.{counter}, excluded.{counter})"
    if counter.endswith("_buckets"):
        return f"agents_add_buckets(r.{counter}, excluded.{counter})"
    return f"r.{counter} + excluded.{counter}"


def _total(counter: str) -> str:
    if counter.startswith("min_"):
        return f"min({counter})"
    if counter.startswith("max_"):
        return f"max({counter})"
    if counter.endswith("_buckets"):
        return f"ARRAY[{', '.join(f'sum({counter}[{number}])' for number in range(1, BUCKET_COUNT + 1))}]::bigint[]"
    return f"sum({counter})" if counter.endswith(_FRACTIONS) else f"sum({counter})::bigint"


# `%(turns)s`: ids of ended turns that are in no rollup yet, which the caller marks or deletes in the same transaction.
COUNT: Final = (
    f"WITH {_facts('t.id = ANY(%(turns)s::uuid[])')}, usage AS ({ADD_TURNS}), turns AS ({_add(TURNS)}) {_add(CALLS)}"
)


_SELECTED: Final = (
    "(%(agent)s::uuid IS NULL OR {agent} = %(agent)s) AND (%(release)s::uuid IS NULL OR {release} = %(release)s)"
)


def read_statement(
    rollup: Rollup,
    *,
    groups: Mapping[str, str],
    counts: Mapping[str, str],
    counters: Iterable[str] | None = None,
    open_turns: bool = False,
) -> str:
    """The SELECT of the sums of `counters` (None: of all), after those of `counts`, by `groups`: expressions over the
    columns `at` and the keys; `counts` over these counters, too. With `open_turns` the calls that have ended in
    turns that go on are part of the live tail: they will be counted at the same times.

    Its parameters: `widths`, `firsts` and `lasts` are the ranges of rollups; the live tail counts from `since` to
    `until`, if not null; `agent` and `release` select, if not null.
    """
    names = list(rollup.counters if counters is None else counters)
    keys, columns, grouped = ", ".join(rollup.keys), ", ".join(names), ", ".join(groups.values())
    turns = "NOT t.compacted AND t.finished_at IS NOT NULL AND t.finished_at >= %(since)s"
    if open_turns:
        # By their ids, for an OR of the two would read the whole table.
        turns = f"""t.id = ANY (ARRAY (SELECT t.id FROM agents_turn t WHERE {turns} UNION ALL
            SELECT t.id FROM agents_turn t WHERE t.finished_at IS NULL AND t.started_at IS NOT NULL))"""
    tail = f"""
        {turns}
        AND {_SELECTED.format(agent="r.agent_id", release="t.release_id")}"""
    order = f" GROUP BY {grouped} ORDER BY {grouped}" if groups else ""
    return f"""
WITH {_facts(tail)}, rows AS (
    SELECT c.* FROM unnest(%(widths)s::text[], %(firsts)s::timestamptz[], %(lasts)s::timestamptz[])
        AS span(width, first, last)
    CROSS JOIN LATERAL (
        SELECT c.at, {keys}, {columns} FROM {rollup.table} c
        WHERE c.width = span.width AND c.at >= span.first AND c.at < coalesce(span.last, 'infinity')
          AND {_SELECTED.format(agent="c.agent_id", release="c.release_id")}
        OFFSET 0
    ) c
    UNION ALL
    SELECT date_trunc('minute', ended_at, 'UTC'), {", ".join((keys, *(rollup.counters[name] for name in names)))}
    FROM {rollup.facts} WHERE ended_at >= %(since)s AND (%(until)s::timestamptz IS NULL OR ended_at < %(until)s)
    GROUP BY {", ".join(map(str, range(1, len(rollup.keys) + 2)))}
)
SELECT {", ".join((*groups.values(), *counts.values(), *map(_total, names)))} FROM rows{order}
"""
