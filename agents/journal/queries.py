"""Run statements and fetch their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction


def fetch(sql: str, params: Mapping[str, Any], *, on: psycopg.Connection | None = None) -> list[tuple[Any, ...]]:
    """The rows of one statement, which commits by itself outside a transaction. `on` is the connection of a listening
    thread to use instead of Django's."""
    if on is not None:
        return on.execute(sql.encode(), params).fetchall()
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


@contextmanager
def consistent_snapshot() -> Iterator[None]:
    """A read-only transaction in which all statements see the same snapshot (REPEATABLE READ)."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
