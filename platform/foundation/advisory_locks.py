"""Work that only one process may do at a time, whichever comes first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connection


@contextmanager
def alone(number: int) -> Iterator[bool]:
    """Whether nobody else is in a block of this `number` (64 bits, signed) now; it waits for nobody.

    An advisory lock of the session, held without a transaction: it ends with its connection, so a dead worker holds
    nothing.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [number])
        first = bool(cursor.fetchone()[0])
    try:
        yield first
    finally:
        if first and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [number])
