"""Samples of the gauges of the installation: one statement, by whichever process comes first."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from django.db import connection

from agents.budgets.window_sql import BUDGET_LABEL, PRESENT_PERIOD
from agents.models import IN_PRODUCTION_SQL, STUCK_AFTER
from agents.models.runners import heartbeat_timeout
from agents.sessions.health_checks import PEOPLE_PARTS
from foundation.clock import now
from foundation.ids import lowest_id
from scheduling import heartbeats

SAMPLE_SECONDS: Final = 30.0
# Processes do not look at the same moment: the one that wrote the gauges last should be the next one, too.
DUE_SECONDS: Final = SAMPLE_SECONDS - 2
# Sessions with a turn that was accepted within this time are active.
ACTIVE: Final = timedelta(minutes=5)
# An open route that nobody has asked for so long after it could be tried is not in use.
UNTRIED: Final = timedelta(minutes=15)
# Budgets with samples of their own: those of which most is used.
MAX_BUDGETS: Final = 100
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
    OPEN_ROUTES = "open_routes"  # labels: route, for each that is open; none for the row with 0
    STUCK_TURNS = "stuck_turns"
    HANDOFFS_WAITING = "handoffs_waiting"
    HANDOFF_WAIT_SECONDS = "handoff_wait_seconds"
    HANDOFFS_LATE = "handoffs_late"
    HANDOFFS_UNATTENDED = "handoffs_unattended"
    APPROVALS_OPEN = "approvals_open"
    # Labels: budget, for each that several people share; none for the row with 0.
    BUDGET_USED_PERCENT = "budget_used_percent"
    BUDGETS_OVERDRAWN = "budgets_overdrawn"
    BUDGET_DIFFERENCES = "budget_differences"
    DATABASE_CONNECTIONS = "database_connections"
    DATABASE_BYTES = "database_bytes"
    DATABASE_CONNECTIONS_PERCENT = "database_connections_percent"
    MEMORY_FRACTION = "memory_fraction"  # labels: host
    DISK_FRACTION = "disk_fraction"  # labels: host
    SCHEDULER_SILENT_SECONDS = "scheduler_silent_seconds"
    FAILED_JOBS = "failed_jobs"
    EVENT_LAG_SECONDS = "event_lag_seconds"
    # What happened since the samples before.
    DROPPED_SPANS = "dropped_spans"
    FAILED_NOTIFICATIONS = "failed_notifications"
    # Written by `runner_looks`, more often. Labels: runner, for each that failed; none for the row with 0.
    RUNNER_FAILED_CHECKS = "runner_failed_checks"


# A clock that was put back would else stop the samples until it has come up with the newest.
_IS_DUE: Final = """
SELECT NOT EXISTS (SELECT FROM monitoring_gaugesample
                   WHERE metric = 'queue_depth' AND at > statement_timestamp() - make_interval(secs => %(seconds)s)
                     AND at <= statement_timestamp())
"""
# Each figure uses an index, or a table of few rows.
_WRITE: Final = f"""
WITH {PEOPLE_PARTS}, queue AS MATERIALIZED (
    SELECT count(*) AS depth, extract(epoch FROM statement_timestamp() - min(queued_at))::float8 AS oldest
    FROM agents_turn WHERE status = 'queued'
), runner AS MATERIALIZED (
    SELECT count(*) AS alive, coalesce(sum(capacity), 0) AS capacity FROM agents_runner
    WHERE status = 'running' AND heartbeat_at >= statement_timestamp() - %(patience)s
), active AS MATERIALIZED (
    SELECT agent_session_id FROM agents_turn WHERE id >= %(since)s
    UNION SELECT agent_session_id FROM agents_turn WHERE finished_at IS NULL
), sample AS MATERIALIZED (
    SELECT host, at, memory_used_bytes, memory_limit_bytes, figures FROM monitoring_processsample
    WHERE at > statement_timestamp() - make_interval(secs => %(stale)s)
), host AS MATERIALIZED (
    SELECT DISTINCT ON (host) host, memory_used_bytes, memory_limit_bytes FROM sample
    WHERE memory_used_bytes IS NOT NULL AND memory_limit_bytes > 0 ORDER BY host, at DESC
), disk AS MATERIALIZED (
    SELECT DISTINCT ON (host) host, (figures ->> 'disk_used_fraction')::float8 AS fraction FROM sample
    WHERE jsonb_typeof(figures -> 'disk_used_fraction') = 'number' ORDER BY host, at DESC
), previous AS MATERIALIZED (
    SELECT greatest(max(at), statement_timestamp() - make_interval(secs => %(stale)s)) AS at FROM monitoring_gaugesample
    WHERE metric = 'queue_depth' AND at < statement_timestamp()
), recent AS MATERIALIZED (
    SELECT coalesce(sum((figures ->> 'new_spans_dropped')::float8), 0) AS dropped,
           max((figures ->> 'event_lag_p95_seconds')::float8) AS lag
    FROM sample, previous WHERE sample.at > previous.at
), route AS MATERIALIZED (
    SELECT DISTINCT provider || ':' || coalesce(nullif(model, ''), '*') AS name FROM agents_routehealth
    WHERE CASE WHEN forced_until > statement_timestamp() THEN forced = 'open'
               ELSE (state = 'open' AND open_until > statement_timestamp() - %(untried)s)
                 OR (state = 'half_open' AND changed_at > statement_timestamp() - %(untried)s) END
), shared_budget AS MATERIALIZED (
    SELECT {BUDGET_LABEL} AS label, 100 * coalesce(w.spent, 0)::float8 / p.amount::float8 AS percent
    FROM agents_budget b {PRESENT_PERIOD}
    LEFT JOIN agents_budgetwindow w ON w.budget_id = b.id AND w.counted_user = 0 AND w.starts_at = p.starts_at
    WHERE b.subject NOT IN ('user', 'each_user') AND p.amount > 0
)
INSERT INTO monitoring_gaugesample (metric, labels, at, value)
SELECT gauge.metric, gauge.labels, statement_timestamp(), gauge.value
FROM (
    SELECT 'queue_depth' AS metric, '{{}}'::jsonb AS labels, depth::float8 AS value FROM queue
    UNION ALL SELECT 'queue_oldest_seconds', '{{}}', coalesce(oldest, 0) FROM queue
    UNION ALL SELECT 'running_turns', '{{}}', count(*) FROM agents_turn WHERE lease_expires_at IS NOT NULL
    UNION ALL SELECT 'runners_alive', '{{}}', alive FROM runner
    UNION ALL SELECT 'runner_capacity', '{{}}', capacity FROM runner
    UNION ALL SELECT 'active_sessions', '{{}}', count(*) FROM active
        WHERE {IN_PRODUCTION_SQL.format(row="active")}
    UNION ALL SELECT 'open_breakers', '{{}}', count(*) FROM agents_routehealth WHERE state = 'open'
    UNION ALL SELECT 'open_routes', '{{}}', 0
    UNION ALL SELECT 'open_routes', jsonb_build_object('route', name), 1 FROM route
    UNION ALL SELECT 'stuck_turns', '{{}}',
        (SELECT count(*) FROM agents_turn
         WHERE lease_expires_at IS NOT NULL
           AND least(lease_expires_at, deadline_at) < statement_timestamp() - %(stuck)s)
        + (SELECT count(*) FROM agents_turn
           WHERE deadline_at < statement_timestamp() - %(stuck)s AND lease_expires_at IS NULL AND finished_at IS NULL)
    UNION ALL SELECT 'handoffs_waiting', '{{}}', count(*) FROM waiting
    UNION ALL SELECT 'handoff_wait_seconds', '{{}}',
        coalesce(extract(epoch FROM statement_timestamp() - min(since))::float8, 0) FROM waiting
    UNION ALL SELECT 'handoffs_late', '{{}}', count(*) FROM waiting WHERE is_late
    UNION ALL SELECT 'handoffs_unattended', '{{}}', count(*) FROM waiting JOIN unattended USING (agent_id)
    UNION ALL SELECT 'approvals_open', '{{}}', count(*) FROM undecided
    UNION ALL SELECT 'budget_used_percent', '{{}}', 0
    UNION ALL (SELECT 'budget_used_percent', jsonb_build_object('budget', label), max(percent) FROM shared_budget
               GROUP BY label ORDER BY max(percent) DESC, label LIMIT %(max_budgets)s)
    UNION ALL SELECT 'budgets_overdrawn', '{{}}', count(*) FROM agents_budgetwindow
    WHERE ends_at > statement_timestamp() AND overdraft > 0
    UNION ALL SELECT 'budget_differences', '{{}}', count(*) FROM agents_budgetdifference WHERE reviewed_at IS NULL
    UNION ALL SELECT 'database_connections', '{{}}', count(*) FROM pg_stat_activity WHERE datname = current_database()
    UNION ALL SELECT 'database_bytes', '{{}}', pg_database_size(current_database())
    UNION ALL SELECT 'memory_fraction', jsonb_build_object('host', host), memory_used_bytes::float8 / memory_limit_bytes
    FROM host
    UNION ALL SELECT 'database_connections_percent', '{{}}',
        100 * (SELECT sum(numbackends) FROM pg_stat_database) / current_setting('max_connections')::float8
    UNION ALL SELECT 'disk_fraction', jsonb_build_object('host', host), fraction FROM disk
    UNION ALL SELECT 'scheduler_silent_seconds', '{{}}', extract(epoch FROM statement_timestamp() - beat_at)
    FROM scheduling_heartbeat WHERE name = %(scheduler)s
    UNION ALL SELECT 'failed_jobs', '{{}}', count(*) FROM scheduling_schedule AS schedule
    WHERE (SELECT status FROM scheduling_jobrun AS run WHERE run.job = schedule.job AND status <> 'running'
           ORDER BY run.id DESC LIMIT 1) IN ('failed', 'lost')
    UNION ALL SELECT 'event_lag_seconds', '{{}}', lag FROM recent WHERE lag IS NOT NULL
    UNION ALL SELECT 'dropped_spans', '{{}}', dropped FROM recent
    UNION ALL SELECT 'failed_notifications', '{{}}', count(*) FROM monitoring_notification n, previous
    WHERE state = 'failed' AND kind <> 'test' AND finished_at > previous.at
    -- That the notification of an alert about this failed, too, would begin the next alert, and so on for ever.
    AND NOT EXISTS (SELECT FROM monitoring_alertrule r WHERE r.id = n.rule_id AND r.metric = 'failed_notifications')
) gauge
"""  # noqa: S608 - put together from constants; values are parameters


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
        "stuck": STUCK_AFTER,
        "untried": UNTRIED,
        "scheduler": heartbeats.SCHEDULER,
        "max_budgets": MAX_BUDGETS,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, params)
