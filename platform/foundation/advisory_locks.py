"""All advisory locks of an installation, with their numbers, and the only functions that acquire one.

PostgreSQL identifies such a lock by a signed 64-bit number, so two uses of one number would block each other. The
upper 16 bits of ours are the purpose; the lower 48 are a counter, or the digest of a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, unique

import psycopg
from django.db import connection

_KEY_BYTES = 6
_KEY_BITS = 8 * _KEY_BYTES
_SINGLE = 0x6261 << _KEY_BITS


@unique
class AdvisoryLock(IntEnum):
    """Locks for what only one process may do at a time."""

    PREPARE_INSTALLATION = _SINGLE | 1
    CREATE_FIRST_OWNER = _SINGLE | 2
    SYNC_SCHEDULES = _SINGLE | 3
    SEND_EMAIL = _SINGLE | 4
    EMBED_MEMORIES = _SINGLE | 5
    SYNC_VECTOR_INDEXES = _SINGLE | 6
    EXPORT_TRACES = _SINGLE | 9
    MONITOR_PERFORMANCE = _SINGLE | 7
    APPLY_RECOMMENDATION = _SINGLE | 8
    EVALUATE_ALERTS = _SINGLE | 10
    LOOK_AT_RUNNERS = _SINGLE | 11
    # Taken by a function of the database for the time of one statement; see agents/migrations/_budget_functions.py.
    ACCOUNT_BUDGETS = _SINGLE | 12
    JUDGE_DEPLOYMENTS = _SINGLE | 13
    WORK_ON_EVALUATIONS = _SINGLE | 14
    MOVE_SESSIONS = _SINGLE | 15


@unique
class LockFamily(IntEnum):
    """Locks for what only one process may do at a time for each key; the value is the upper 16 bits."""

    RUN_JOB = 0x6262
    REPEAT_COMPLETION = 0x6263

    def lock(self, key: bytes) -> int:
        """The number of the lock of `key`. Keys whose digests collide share a lock."""
        return self << _KEY_BITS | int.from_bytes(hashlib.sha256(key).digest()[:_KEY_BYTES])


@contextmanager
def try_advisory_lock(lock: int) -> Iterator[bool]:
    """Try to acquire `lock` without waiting; yield whether it is held for the block.

    It is a session-level lock: it needs no transaction, and ends with the connection, so a dead process holds none.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [int(lock)])
        acquired = bool(cursor.fetchone()[0])
    try:
        yield acquired
    finally:
        if acquired and connection.is_usable():
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [int(lock)])


@contextmanager
def advisory_lock(lock: int, *, on: psycopg.Connection) -> Iterator[None]:
    """Wait for `lock` and hold it until the end of the block; where the block raises, until the end of the connection.

    `on` is in autocommit mode, so that no transaction is open during a long wait.
    """
    on.execute("SELECT pg_advisory_lock(%s)", [int(lock)])
    yield
    on.execute("SELECT pg_advisory_unlock(%s)", [int(lock)])


def advisory_xact_lock(lock: int, *, shared: bool = False) -> None:
    """Wait for `lock` and hold it until the caller's transaction ends. Acquiring it again has no effect.

    `shared` locks exclude only those that are not shared. Raises `OperationalError` after the connection's
    `lock_timeout`.
    """
    statement = "SELECT pg_advisory_xact_lock_shared(%s)" if shared else "SELECT pg_advisory_xact_lock(%s)"
    with connection.cursor() as cursor:
        cursor.execute(statement, [int(lock)])


def try_advisory_xact_lock(lock: int) -> bool:
    """Try to acquire `lock` without waiting, until the caller's transaction ends; return whether it is held.

    The server ends the transaction of a process that stands still, and with it the lock.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int(lock)])
        return bool(cursor.fetchone()[0])
