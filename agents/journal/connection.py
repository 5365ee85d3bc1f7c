"""One statement in, its rows out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection, transaction


def fetch(sql: str, params: Mapping[str, Any], *, on: psycopg.Connection | None = None) -> list[tuple[Any, ...]]:
    """The rows of one statement; outside a transaction it commits by itself. `on` is a connection of a listening
    thread."""
    if on is not None:
        return on.execute(sql.encode(), params).fetchall()
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


@contextmanager
def consistent_snapshot() -> Iterator[None]:
    """A transaction whose reads all tell of the same moment; nothing can be written in it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield
