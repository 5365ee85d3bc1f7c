"""Plans that stay good: they are made while the tables are nearly empty, and used when they are full."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
from django.db import connection
from psycopg import sql as text

from agents.journal import sql
from agents.journal.listen_connection import open_listen_connection
from agents.tasks import turns_to_compact
from foundation.clock import now
from foundation.ids import lowest_id
from tests.support.conversations import RUNNER, conversation

pytestmark = pytest.mark.usefixtures("transactional_db")

SESSIONS, EARLIER, WAITING, TAKEN = 100, 10, 3, 5

# Turns `first` to `last` of every session, all of one status.
TURNS_OF = """
INSERT INTO agents_turn (id, agent_session_id, user_id, release_id, ordinal, status, priority, idempotency_key,
                         fingerprint, epoch, attempts_without_progress, deadline_at, finished_at, error_class,
                         error_detail, input_tokens, output_tokens, compacted, wait_reason, resumes)
SELECT gen_random_uuid(), s.id, s.user_id, s.release_id, n, %(status)s::text, 0, %(status)s::text || n, '', 0, 0,
       now() + interval '1 hour', CASE WHEN %(status)s::text = 'completed' THEN now() END, '', '', 0, 0, false, '',
       false
FROM agents_agentsession s, generate_series(%(first)s::int, %(last)s::int) n
"""
CLAIM_TYPES = {
    "runner": "uuid", "limit": "int", "running_per_user": "int", "lease_seconds": "float8", "aged": "uuid",
}  # fmt: skip


@pytest.fixture
def direct() -> Iterator[psycopg.Connection]:
    """A connection like the claimer's."""
    with open_listen_connection() as own:
        yield own


def prepare(own: psycopg.Connection, statement: str, types: Mapping[str, str]) -> None:
    """Prepare `statement` as `planned`, its parameters in the order of `types`."""
    numbered = re.sub(r"%\((\w+)\)s", lambda name: f"${list(types).index(name[1]) + 1}", statement)
    own.execute(f"PREPARE planned ({', '.join(types.values())}) AS {numbered}".encode())


def explain(own: psycopg.Connection, *values: Any) -> dict[str, Any]:
    """The plan of one execution of `planned`, with what it did."""
    arguments = text.SQL(", ").join(map(text.Literal, values))
    [(found,)] = own.execute(
        text.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE planned ({})").format(arguments)
    ).fetchall()
    plan: dict[str, Any] = (found if isinstance(found, list) else json.loads(found))[0]["Plan"]
    return plan


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def rows_read(plan: dict[str, Any]) -> int:
    """Rows that came out of tables, those that were thrown away included."""
    scans = [node for node in nodes(plan) if "Relation Name" in node and node["Node Type"] != "ModifyTable"]
    thrown = ("Rows Removed by Filter", "Rows Removed by Index Recheck")
    return int(
        sum(node["Actual Loops"] * (node["Actual Rows"] + sum(node.get(name, 0) for name in thrown)) for node in scans)
    )


def run(statement: str, params: Mapping[str, Any] | None = None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)


@pytest.mark.parametrize("statement", [sql.CLAIM, sql.CLAIM_BY_AGE], ids=["by priority", "by age"])
def test_a_claim_planned_while_nothing_waited_reads_little_of_a_full_queue(
    direct: psycopg.Connection, statement: str
) -> None:
    for _ in range(SESSIONS):
        conversation("ada")
    run(TURNS_OF, {"first": 1, "last": EARLIER, "status": "completed"})
    run("ANALYZE")
    prepare(direct, statement, CLAIM_TYPES)
    explain(direct, RUNNER, TAKEN, TAKEN, 15.0, lowest_id(now()))
    run(TURNS_OF, {"first": EARLIER + 1, "last": EARLIER + WAITING, "status": "queued"})
    plan = explain(direct, RUNNER, TAKEN, TAKEN, 15.0, lowest_id(now()))
    assert plan["Actual Rows"] == TAKEN
    # A scan without a key reads few rows or all of them, as the ids happen to lie.
    keyless = [
        node for node in nodes(plan) if node.get("Index Name") == "agents_turn_pkey" and "Index Cond" not in node
    ]
    assert keyless == []
    assert rows_read(plan) < SESSIONS * WAITING / 2


def test_looking_for_what_is_to_be_folded_reads_none_of_what_has_been() -> None:
    for _ in range(SESSIONS):
        conversation("ada")
    run(TURNS_OF, {"first": 1, "last": EARLIER, "status": "completed"})
    run("UPDATE agents_turn SET compacted = true")
    run("ANALYZE")
    plan = json.loads(turns_to_compact().explain(analyze=True, format="json"))[0]["Plan"]
    assert rows_read(plan) == 0
