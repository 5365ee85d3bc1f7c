"""Retry of database work: once after a lost connection, and once after a deadlock."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, connection
from psycopg import errors

from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import Unavailable

P = ParamSpec("P")
T = TypeVar("T")

_DEADLOCK_PAUSE_SECONDS = 0.02


def retry_after_lost_connection(attempt: Callable[[], T], *, detail: str | None = None) -> T:
    """Return `attempt()`, called again on a new connection if the present one is lost; it must be idempotent.

    A pooled connection may have died unnoticed, and a commit on a broken one may have succeeded or not. Raises
    `Unavailable` with `detail` if the second attempt fails as well. Inside a transaction, which cannot be retried here,
    the database error is raised.
    """
    try:
        return attempt()
    except DATABASE_FAULTS:
        if connection.in_atomic_block:
            raise
    try:
        connection.close()
        return attempt()
    except DATABASE_FAULTS as error:
        raise Unavailable(detail, retry_after_seconds=1) from error


def retry_after_deadlock(fn: Callable[P, T]) -> Callable[P, T]:
    """Decorate a function that is one transaction: retry it once if PostgreSQL aborts it because of a deadlock."""

    @wraps(fn)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return fn(*args, **kwargs)
        except OperationalError as error:
            if connection.in_atomic_block or not isinstance(error.__cause__, errors.DeadlockDetected):
                raise
            # Let the other transaction acquire the released lock first.
            time.sleep(_DEADLOCK_PAUSE_SECONDS)
            return fn(*args, **kwargs)

    return run
