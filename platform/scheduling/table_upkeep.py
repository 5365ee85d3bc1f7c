"""Vacuums and analyses the tables for which autovacuum has not: switched off, too slow, or never meant for them."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog
from django.db import connection

from foundation.db_timeouts import is_timeout, statement_timeout

log = structlog.get_logger(__name__)

# The scheduler's other work waits for a table no longer than this, and no further one is begun after it.
SECONDS: Final = 120.0
BEGIN_SECONDS: Final = 40.0
# Autovacuum begins at its threshold; at twice as much it has not come.
OVERDUE: Final = 2.0
# Of a table that has never been analysed: below, the planner's guess does no harm.
MIN_ROWS: Final = 1_000

# The tables of this database that we may maintain, the worst first, with what they need. Autovacuum never analyses a
# partitioned table, so that is done once a day. What somebody vacuums at this moment is left out.
_DUE: Final = """
WITH limits AS (
    SELECT %(overdue)s * current_setting('autovacuum_vacuum_threshold')::float8 AS dead_rows,
           %(overdue)s * current_setting('autovacuum_vacuum_scale_factor')::float8 AS dead_share,
           %(overdue)s * current_setting('autovacuum_analyze_threshold')::float8 AS changed_rows,
           %(overdue)s * current_setting('autovacuum_analyze_scale_factor')::float8 AS changed_share,
           1.2 * current_setting('autovacuum_freeze_max_age')::float8 AS age
), tables AS (
    SELECT c.oid, c.relkind, c.oid::regclass::text AS name, greatest(c.reltuples, 0) AS rows,
           stat.n_dead_tup AS dead, stat.n_mod_since_analyze AS changed, stat.n_live_tup AS live,
           greatest(stat.last_analyze, stat.last_autoanalyze) AS analyzed_at,
           CASE WHEN c.relkind = 'r' THEN age(c.relfrozenxid) ELSE 0 END AS age
    FROM pg_stat_user_tables AS stat JOIN pg_class AS c ON c.oid = stat.relid
    WHERE stat.schemaname = ANY(current_schemas(false)) AND pg_has_role(c.relowner, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_stat_progress_vacuum AS running WHERE running.relid = c.oid)
), needs AS (
    SELECT oid, name, dead,
           relkind = 'r' AND (dead > dead_rows + dead_share * rows OR tables.age > limits.age) AS needs_vacuum,
           CASE WHEN relkind = 'p' THEN (analyzed_at IS NULL OR analyzed_at < now() - interval '1 day')
                                    AND EXISTS (SELECT FROM pg_inherits WHERE inhparent = oid)
                ELSE changed > changed_rows + changed_share * rows OR (analyzed_at IS NULL AND live >= %(min_rows)s)
           END AS needs_analyze
    FROM tables CROSS JOIN limits
)
SELECT oid, name, needs_vacuum, needs_analyze FROM needs
WHERE needs_vacuum OR needs_analyze ORDER BY needs_vacuum DESC, dead DESC, name
"""
_TREATED_AT: Final = """
SELECT greatest(pg_stat_get_last_vacuum_time(%(oid)s), pg_stat_get_last_analyze_time(%(oid)s))
"""


@dataclass(frozen=True, slots=True)
class DueTable:
    """A table and what it needs. `name` is quoted, as PostgreSQL writes it."""

    oid: int
    name: str
    vacuum: bool
    analyze: bool


def maintain_tables() -> int:
    """Vacuum and analyse what is due, outside transactions and at autovacuum's pace; return the number of tables.

    Tables that somebody has locked are skipped, those that take two minutes are given up for now; both are due again.
    Within a transaction, where PostgreSQL refuses to vacuum, it does nothing.
    """
    if connection.in_atomic_block:
        return 0
    ends_at = monotonic() + BEGIN_SECONDS
    treated = 0
    for table in due_tables():
        if monotonic() > ends_at:
            break
        treated += _maintain(table)
    return treated


def due_tables() -> list[DueTable]:
    """The tables that autovacuum has left twice as long as it should, the worst first."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE, {"overdue": OVERDUE, "min_rows": MIN_ROWS})
        return [DueTable(*row) for row in cursor.fetchall()]


def _maintain(table: DueTable) -> bool:
    """Whether it was done: not, if somebody has locked the table."""
    options = "SKIP_LOCKED, ANALYZE" if table.analyze else "SKIP_LOCKED"
    command = f"VACUUM ({options})" if table.vacuum else "ANALYZE (SKIP_LOCKED)"
    previous_time, started = _treated_at(table), monotonic()
    try:
        with statement_timeout(SECONDS), connection.cursor() as cursor:
            cursor.execute("SET vacuum_cost_delay = '2ms'")  # that of autovacuum
            try:
                cursor.execute(f"{command} {table.name}")
            finally:
                cursor.execute("RESET vacuum_cost_delay")
    except Exception as error:
        if not is_timeout(error):
            raise
        log.warning("table.postponed", table=table.name, command=command)
        return False
    if _treated_at(table) == previous_time:
        return False
    log.info("table.maintained", table=table.name, command=command, seconds=round(monotonic() - started, 3))
    return True


def _treated_at(table: DueTable) -> object:
    with connection.cursor() as cursor:
        cursor.execute(_TREATED_AT, {"oid": table.oid})
        return cursor.fetchone()[0]
