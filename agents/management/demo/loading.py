"""Fill the tables by COPY, in one transaction: afterwards everything is there, or nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from random import Random
from typing import Any

from django.apps import apps
from django.db import connection, transaction
from django.db.models import Field
from django.db.models.fields import NOT_PROVIDED

from agents.management.demo.agents_and_users import make_agents_and_users
from agents.management.demo.plan import DemoSession, plan
from agents.management.demo.rows import COLUMNS, NULL, Author, Lines

BATCH = 25_000
TABLES = ("agentsession", "turn", "message", "step", "event")


@transaction.atomic
def load(*, turns: int, seed: int, until: datetime, tell: Callable[[str], None]) -> dict[str, int]:
    """Insert `turns` turns and all that belongs to them; how many rows each table got.

    Indexes and foreign keys of an empty table are taken off for the load and put back before the commit, when
    PostgreSQL checks every row against them at once. Meanwhile nobody else can write to these tables.
    """
    rng = Random(seed)  # noqa: S311 - made-up conversations
    began = time.monotonic()
    cast = make_agents_and_users(rng, until=until, people=max(20, min(5_000, turns // 200)))
    talks, moments = plan(rng, cast, turns=turns, until=until)
    tell(f"{len(talks):,} sessions of {len(cast.people):,} people are planned")
    bare = not any(apps.get_model("agents", name).objects.exists() for name in TABLES)
    put_back = _take_off() if bare else []
    author = Author(rng, cast)
    counts = dict.fromkeys(TABLES, 0)
    for first in range(0, turns, BATCH):
        for at, index in moments[first : first + BATCH]:
            author.write_turn(talks[index], at)
        _store(author.lines, ("turn", "message", "step", "event"), counts)
        done = min(first + BATCH, turns)
        tell(f"{done:,} of {turns:,} turns, {time.monotonic() - began:.0f} s")
    _store_sessions(author, talks, counts)
    for statement in put_back:
        _run(statement)
    tell(f"indexes and keys are checked, {time.monotonic() - began:.0f} s")
    return counts


def _store_sessions(author: Author, talks: Sequence[DemoSession], counts: dict[str, int]) -> None:
    for first in range(0, len(talks), BATCH):
        for talk in talks[first : first + BATCH]:
            author.write_session(talk)
        _store(author.lines, ("agentsession",), counts)


def _store(lines: Lines, tables: Iterable[str], counts: dict[str, int]) -> None:
    for name in tables:
        waiting: list[str] = getattr(lines, name)
        counts[name] += len(waiting)
        _copy(name, waiting)
        waiting.clear()


def _copy(name: str, lines: Sequence[str]) -> None:
    model = apps.get_model("agents", name)
    named = COLUMNS[name]
    # Columns that the demo does not speak of get what Django would give them.
    others = [column for column in model._meta.local_concrete_fields if column.column not in named and _needed(column)]
    columns = ", ".join([*named, *(field.column for field in others)])
    rest = "".join(f"\t{_default(field)}" for field in others) + "\n"
    with connection.cursor() as cursor, cursor.copy(f"COPY {model._meta.db_table} ({columns}) FROM STDIN") as copy:
        for first in range(0, len(lines), 500):
            copy.write("".join(line + rest for line in lines[first : first + 500]))


def _needed(field: Field[Any, Any]) -> bool:
    return not field.null and not field.primary_key and field.db_default is NOT_PROVIDED


def _default(field: Field[Any, Any]) -> str:
    value: Any = field.get_default()
    if value is None:
        return NULL
    if isinstance(value, bool):
        return str(value).lower()
    return "{}" if value == {} else str(value)


_TO_TAKE_OFF = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
FROM pg_constraint WHERE contype IN ('f', 'u') AND conrelid = ANY(%(tables)s::regclass[])
ORDER BY contype
"""
_INDEXES = """
SELECT quote_ident(indexrelid::regclass::text), pg_get_indexdef(indexrelid)
FROM pg_index WHERE indrelid = ANY(%(tables)s::regclass[]) AND NOT indisprimary
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype = 'u')
  -- A list in a condition comes back in other words than it went; those few indexes stay where they are.
  AND pg_get_indexdef(indexrelid) NOT LIKE '%%ARRAY%%'
"""


def _take_off() -> list[str]:
    """Drop indexes and foreign keys; the statements that make them again."""
    tables = {"tables": [apps.get_model("agents", name)._meta.db_table for name in TABLES]}
    with connection.cursor() as cursor:
        cursor.execute(_INDEXES, tables)
        indexes = cursor.fetchall()
        cursor.execute(_TO_TAKE_OFF, tables)
        constraints = cursor.fetchall()
    _run("SET LOCAL maintenance_work_mem = '256MB'")
    # The cast's own keys are judged now: a table with open questions cannot be changed.
    _run("SET CONSTRAINTS ALL IMMEDIATE")
    for table, name, _ in constraints:
        _run(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    for name, _ in indexes:
        _run(f"DROP INDEX {name}")
    back = [definition for _, definition in indexes]
    # Foreign keys come first in the list and must come back last: some of them lean on the others.
    return back + [f"ALTER TABLE {table} ADD CONSTRAINT {name} {how}" for table, name, how in reversed(constraints)]


def _run(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
