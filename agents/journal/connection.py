"""One statement in, its rows out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import psycopg
from django.db import OperationalError, connection, transaction
from psycopg import errors

P = ParamSpec("P")
T = TypeVar("T")

_ASIDE_SECONDS = 0.02


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
def one_moment() -> Iterator[None]:
    """A transaction whose reads all tell of the same moment; nothing can be written in it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield


def once_more_after_deadlock(fn: Callable[P, T]) -> Callable[P, T]:
    """Run a whole transaction again when PostgreSQL chose it as a deadlock's victim; a second time is an error."""

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return fn(*args, **kwargs)
        except OperationalError as error:
            if connection.in_atomic_block or not isinstance(error.__cause__, errors.DeadlockDetected):
                raise
            # The winner is about to wake and take the lock that was given up; at once, we would take it back.
            time.sleep(_ASIDE_SECONDS)
            return fn(*args, **kwargs)

    return run
