"""The pool after a restart of the server: the first request is answered like any other."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from django.db import connection

from tests.support.conversations import side_by_side

pytestmark = pytest.mark.usefixtures("transactional_db")

CONNECTIONS = 8


def use() -> int:
    """Hold a connection for a moment; the server process behind it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.05)")
        pid: int = cursor.fetchone()[0]
        return pid


def kill_all() -> int:
    """As a restart does to every connection; how many there were."""
    parameters = connection.get_connection_params()
    names = ("dbname", "user", "password", "host", "port")
    with psycopg.connect(**{name: parameters[name] for name in names if name in parameters}, autocommit=True) as other:
        row = other.execute(
            """SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
        ).fetchone()
        assert row
        return int(row[0])


def test_nobody_waits_for_dead_connections_to_be_noticed_one_by_one() -> None:
    side_by_side(*[use] * CONNECTIONS)
    pool: Any = connection.pool  # type: ignore[attr-defined]
    for callers in (1, CONNECTIONS):
        assert kill_all() > 0
        began = time.monotonic()
        outcomes = side_by_side(*[use] * callers)
        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        # One second for the first dead connection, two for the next, and then an error: that is what it was once.
        assert time.monotonic() - began < connection.settings_dict["OPTIONS"]["pool"]["timeout"] / 2
    stats = pool.get_stats()
    assert stats["pool_size"] <= stats["pool_max"]
    assert stats["requests_waiting"] == 0
