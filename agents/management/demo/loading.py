"""Fills the tables by COPY in one transaction, so that either all rows are loaded or none."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connection, transaction
from django.db.models import Field
from django.db.models.fields import NOT_PROVIDED

from agents.journal.rollups import count_turns
from agents.journal.turn_texts import store_turn_texts
from agents.management.demo.agents_and_users import Population, make_agents_and_users
from agents.management.demo.plan import DemoSession, plan
from agents.management.demo.rows import COLUMNS, NULL, Lines, RowWriter
from agents.management.demo.waiting_people import add_waiting_people
from agents.models import Turn

BATCH = 25_000
TABLES = ("agentsession", "turn", "message", "step", "event", "feedback")


@transaction.atomic
def load(
    *, turns: int, seed: int, until: datetime, report: Callable[[str], None], steps: int | None = None
) -> dict[str, int]:
    """Insert `turns` turns with all their rows and count them; return the number of rows by table. `steps`: as many in
    the mean for each turn.

    Indexes and foreign keys of empty tables are dropped for the load and created again before the commit, when
    PostgreSQL checks every row against them at once. Meanwhile nobody else can write to these tables.
    """
    rng = Random(seed)  # noqa: S311 - made-up conversations
    started = time.monotonic()
    population = make_agents_and_users(rng, until=until, user_count=max(20, min(5_000, turns // 200)))
    sessions, moments = plan(rng, population, turns=turns, until=until)
    report(f"{len(sessions):,} sessions of {len(population.users):,} people are planned")
    is_empty = not any(apps.get_model("agents", name).objects.exists() for name in TABLES)
    restore_statements = _drop_indexes(TABLES) if is_empty else []
    restore_search = _drop_indexes(("turntext",)) if is_empty else []
    writer = RowWriter(rng, population, steps=steps)
    counts = dict.fromkeys(TABLES, 0)
    for first in range(0, turns, BATCH):
        for at, index in moments[first : first + BATCH]:
            writer.write_turn(sessions[index], at)
        _store(writer.lines, ("turn", "message", "step", "event", "feedback"), counts)
        done = min(first + BATCH, turns)
        report(f"{done:,} of {turns:,} turns, {time.monotonic() - started:.0f} s")
    _store_sessions(writer, sessions, counts)
    for statement in restore_statements:
        _run(statement)
    report(f"indexes and keys are checked, {time.monotonic() - started:.0f} s")
    _count(population)
    report(f"all turns are counted, {time.monotonic() - started:.0f} s")
    _store_texts()
    for statement in restore_search:
        _run(statement)
    report(f"words are indexed, {time.monotonic() - started:.0f} s")
    for name, count in add_waiting_people(rng, until=until).items():
        counts[name] = counts.get(name, 0) + count
    return counts


def _count(population: Population) -> None:
    """Add the turns to the rollups, as the product does when it compacts them."""
    # The planner knows nothing yet of what was loaded.
    for table in ("turn", "step"):
        _run(f"ANALYZE agents_{table}")
    rows = Turn.objects.filter(agent_session__agent__in=[agent.id for agent in population.agents]).order_by("pk")
    last = UUID(int=0)
    while ids := list(rows.filter(pk__gt=last).values_list("pk", flat=True)[:BATCH]):
        count_turns(ids)
        last = ids[-1]


def _store_texts() -> None:
    turns = (
        Turn.objects.filter(text__isnull=True, finished_at__isnull=False).order_by("pk").values_list("pk", flat=True)
    )
    while batch := list(turns[:BATCH]):
        store_turn_texts(batch)
        turns = turns.filter(pk__gt=batch[-1])


def _store_sessions(writer: RowWriter, sessions: Sequence[DemoSession], counts: dict[str, int]) -> None:
    for first in range(0, len(sessions), BATCH):
        for session in sessions[first : first + BATCH]:
            writer.write_session(session)
        _store(writer.lines, ("agentsession",), counts)


def _store(lines: Lines, tables: Iterable[str], counts: dict[str, int]) -> None:
    for name in tables:
        rows: list[str] = getattr(lines, name)
        counts[name] += len(rows)
        _copy(name, rows)
        rows.clear()


def _copy(name: str, lines: Sequence[str]) -> None:
    model = apps.get_model("agents", name)
    given_columns = COLUMNS[name]
    # Columns without a generated value get the default of their field.
    defaulted = [
        column for column in model._meta.local_concrete_fields if column.column not in given_columns and _needed(column)
    ]
    columns = ", ".join([*given_columns, *(field.column for field in defaulted)])
    rest = "".join(f"\t{_default(field)}" for field in defaulted) + "\n"
    with connection.cursor() as cursor, cursor.copy(f"COPY {model._meta.db_table} ({columns}) FROM STDIN") as copy:
        for first in range(0, len(lines), 500):
            copy.write("".join(line + rest for line in lines[first : first + 500]))


def _needed(field: Field[Any, Any]) -> bool:
    is_written = not field.generated and field.db_default is NOT_PROVIDED
    return is_written and not field.null and not field.primary_key


def _default(field: Field[Any, Any]) -> str:
    value: Any = field.get_default()
    if value is None:
        return NULL
    if isinstance(value, bool):
        return str(value).lower()
    return "{}" if value == {} else str(value)


_CONSTRAINTS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype IN ('f', 'u') AND conrelid = ANY(%(tables)s::regclass[])
ORDER BY contype
"""
_INDEXES = """
SELECT quote_ident(indexrelid::regclass::text), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = ANY(%(tables)s::regclass[]) AND NOT indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype = 'u')
  -- PostgreSQL rewrites a list in a condition, so those few indexes would not come back as they were: they stay.
  AND pg_get_indexdef(indexrelid) NOT LIKE '%%ARRAY%%'
"""


def _drop_indexes(names: Sequence[str]) -> list[str]:
    """Drop indexes and foreign keys of these tables; return the statements that create them again."""
    tables = {"tables": [apps.get_model("agents", name)._meta.db_table for name in names]}
    with connection.cursor() as cursor:
        cursor.execute(_INDEXES, tables)
        indexes = cursor.fetchall()
        cursor.execute(_CONSTRAINTS, tables)
        constraints = cursor.fetchall()
    _run("SET LOCAL maintenance_work_mem = '256MB'")
    # Check the deferred constraints now: a table with pending checks cannot be altered.
    _run("SET CONSTRAINTS ALL IMMEDIATE")
    for table, name, _ in constraints:
        _run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        _run(f"DROP INDEX {name}")
    statements = [definition for _, definition in indexes]
    # Foreign keys come first in the list and must come back last: some depend on the unique constraints.
    return statements + [
        f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}" for table, name, definition in reversed(constraints)
    ]


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
