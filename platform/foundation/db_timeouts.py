"""A shorter timeout for the statements of one block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, InterfaceError, connection

# The SQLSTATEs of a statement timeout and of a lock timeout.
TIMEOUT_SQLSTATES = frozenset({"57014", "55P03"})


@contextmanager
def statement_timeout(seconds: float) -> Iterator[None]:
    """Set `statement_timeout` for the block. Errors of setting it are ignored: those of the block say more."""
    is_limited = _execute("SELECT set_config('statement_timeout', %s, false)", f"{max(1, round(seconds * 1000))}ms")
    try:
        yield
    finally:
        if is_limited and not _execute("RESET statement_timeout") and not connection.in_atomic_block:
            _discard_connection()


def is_timeout(error: Exception) -> bool:
    """Whether the server ended the statement because it took, or waited for a lock, too long."""
    return getattr(error.__cause__, "sqlstate", None) in TIMEOUT_SQLSTATES


def _execute(sql: str, *params: str) -> bool:
    """Execute `sql`; return whether it succeeded."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(sql, params or None)
    except (DatabaseError, InterfaceError):
        return False
    return True


def _discard_connection() -> None:
    """Close the connection, so that it does not return to the pool with a statement timeout."""
    if connection.connection is not None:
        connection.connection.close()
    connection.close()
