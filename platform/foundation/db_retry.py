"""Row work that is tried once more: after a lost connection, and after a deadlock."""

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

_ASIDE_SECONDS = 0.02


def retry_after_lost_connection(attempt: Callable[[], T], *, detail: str | None = None) -> T:
    """What `attempt` returns, on a new connection if the one at hand is lost; it must be safe to run twice.

    The first statement of a request may meet a connection that died, and one that broke may have carried a commit or
    not. Raises `Unavailable` with `detail` where the second attempt fails like the first; inside a transaction, which
    only its owner can begin again, the failure itself.
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
