"""Samples of the gauges of the installation: one statement, by whichever process comes first."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import connection

from agents.models.runners import heartbeat_timeout
from foundation.clock import now
from foundation.ids import lowest_id

SAMPLE_SECONDS: Final = 30.0
# Processes do not look at the same moment: the one that wrote the gauges last should be the next one, too.
DUE_SECONDS: Final = SAMPLE_SECONDS - 2
# Sessions with a turn that was accepted within this time are active.
ACTIVE: Final = timedelta(minutes=5)
# A process whose last sample is older is gone.
STALE_SECONDS: Final = 3 * SAMPLE_SECONDS


class Gauge(StrEnum):
    """What is sampled, by its name in `GaugeSample.metric`."""

    QUEUE_DEPTH = "queue_depth"
    QUEUE_OLDEST_SECONDS = "queue_oldest_seconds"
    RUNNING_TURNS = "running_turns"
    RUNNERS_ALIVE = "runners_alive"
    RUNNER_CAPACITY = "runner_capacity"
    ACTIVE_SESSIONS = "active_sessions"
    OPEN_BREAKERS = "open_breakers"
    DATABASE_CONNECTIONS = "database_connections"
    DATABASE_BYTES = "database_bytes"
    MEMORY_FRACTION = "memory_fraction"  # labels: host


# A clock that was put back would else stop the samples until it has come up with the newest.
_IS_DUE: Final = """
SELECT NOT EXISTS (SELECT FROM monitoring_gaugesample
                   WHERE metric = 'queue_depth' AND at > statement_timestamp() - make_interval(secs => %(seconds)s)
                     AND at <= statement_timestamp())
"""
# Each figure uses an index, or a table of few rows.
_WRITE: Final = """
WITH queue AS MATERIALIZED (
    SELECT count(*) AS depth, extract(epoch FROM now() - min(queued_at))::float8 AS oldest
    FROM agents_turn WHERE status = 'queued'
), runner AS MATERIALIZED (
    SELECT count(*) AS alive, coalesce(sum(capacity), 0) AS capacity FROM agents_runner
    WHERE status = 'running' AND heartbeat_at >= now() - %(patience)s
), active AS MATERIALIZED (
    SELECT agent_session_id FROM agents_turn WHERE id >= %(since)s
    UNION SELECT agent_session_id FROM agents_turn WHERE finished_at IS NULL
), host AS MATERIALIZED (
    SELECT DISTINCT ON (host) host, memory_used_bytes, memory_limit_bytes FROM monitoring_processsample
    WHERE at > now() - make_interval(secs => %(stale)s) AND memory_used_bytes IS NOT NULL AND memory_limit_bytes > 0
    ORDER BY host, at DESC
)
INSERT INTO monitoring_gaugesample (metric, labels, at, value)
SELECT gauge.metric, gauge.labels, statement_timestamp(), gauge.value
FROM (
    SELECT 'queue_depth' AS metric, '{}'::jsonb AS labels, depth::float8 AS value FROM queue
    UNION ALL SELECT 'queue_oldest_seconds', '{}', coalesce(oldest, 0) FROM queue
    UNION ALL SELECT 'running_turns', '{}', count(*) FROM agents_turn WHERE lease_expires_at IS NOT NULL
    UNION ALL SELECT 'runners_alive', '{}', alive FROM runner
    UNION ALL SELECT 'runner_capacity', '{}', capacity FROM runner
    UNION ALL SELECT 'active_sessions', '{}', count(*) FROM active
    UNION ALL SELECT 'open_breakers', '{}', count(*) FROM agents_routehealth WHERE state = 'open'
    UNION ALL SELECT 'database_connections', '{}', count(*) FROM pg_stat_activity WHERE datname = current_database()
    UNION ALL SELECT 'database_bytes', '{}', pg_database_size(current_database())
    UNION ALL SELECT 'memory_fraction', jsonb_build_object('host', host), memory_used_bytes::float8 / memory_limit_bytes
    FROM host
) gauge
"""


def gauges_are_due() -> bool:
    """Whether nobody has written them within the interval. Ask and write under `AdvisoryLock.MONITOR_PERFORMANCE`."""
    with connection.cursor() as cursor:
        cursor.execute(_IS_DUE, {"seconds": DUE_SECONDS})
        return bool(cursor.fetchone()[0])


def write_gauges() -> None:
    """Write a sample of each gauge, with the database's time: one statement."""
    params: dict[str, Any] = {
        "patience": heartbeat_timeout(),
        "since": lowest_id(now() - ACTIVE),
        "stale": STALE_SECONDS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, params)
