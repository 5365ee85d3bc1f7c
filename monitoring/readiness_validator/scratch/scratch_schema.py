"""The scratch schema: empty copies of all tables of Django's models, with their defaults, indexes, checks and triggers.

Foreign keys are left out: they are the same rows' keys in the real tables, and the trials delete nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from django.db import connection, transaction
from psycopg import sql

SCHEMA: Final = "bandstand_readiness"
# What the verbs read before anything is written: who may do what.
_COPIED_ROWS: Final = ("django_content_type", "auth_permission", "auth_group", "auth_group_permissions")
_TRIGGERS: Final = """
SELECT pg_get_triggerdef(oid, true) FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal
"""


def create_scratch_schema(source: str) -> None:
    """Copy the tables of the schema `source` into an empty scratch schema. Raises `DatabaseError`, also where the role
    may not make a schema."""
    drop_scratch_schema()
    tables = connection.introspection.django_table_names(only_existing=True)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(SCHEMA)))
        for table in tables:
            _copy_table(cursor, source, table)
        for table in _COPIED_ROWS:
            names = sql.Identifier(SCHEMA, table), sql.Identifier(source, table)
            cursor.execute(sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE TABLE {}").format(*names))
        triggers = _read_triggers(cursor, tables)
        # The definitions name their tables without a schema.
        cursor.execute(sql.SQL("SET LOCAL search_path = {}, {}").format(sql.Identifier(SCHEMA), sql.Identifier(source)))
        for trigger in triggers:
            cursor.execute(trigger)


def drop_scratch_schema() -> None:
    """Drop the scratch schema, if there is one."""
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA)))


def current_schema() -> str:
    """The schema in which this installation has its tables."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema()")
        return str(cursor.fetchone()[0])


def may_create_schemas() -> bool:
    """Whether this installation's role may make a schema in its database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_database_privilege(current_database(), 'CREATE')")
        return bool(cursor.fetchone()[0])


def _copy_table(cursor: object, source: str, table: str) -> None:
    names = sql.Identifier(SCHEMA, table), sql.Identifier(source, table)
    cursor.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(*names))  # type: ignore[attr-defined]


def _read_triggers(cursor: object, tables: Sequence[str]) -> list[str]:
    triggers: list[str] = []
    for table in tables:
        cursor.execute(_TRIGGERS, [table])  # type: ignore[attr-defined]
        triggers += [row[0] for row in cursor.fetchall()]  # type: ignore[attr-defined]
    return triggers
