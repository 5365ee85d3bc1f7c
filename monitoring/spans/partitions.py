"""The partitions of the table of spans, one for each day (UTC).

They are made a few days ahead by a job, and on demand by whoever writes. A table is made apart and then attached, which
stops neither readers nor writers; with a default partition that could not be done without a scan of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, Protocol

from django.db import connection

PREFIX: Final = "monitoring_span_"
_ONE_DAY: Final = timedelta(days=1)

# The names come from dates of ours. The lock is PostgreSQL's own on the parent: of two who make one day the second
# one waits for the first and then finds its table.
_CREATE: Final = """
DO $$ BEGIN
    LOCK TABLE monitoring_span IN SHARE UPDATE EXCLUSIVE MODE;
    IF to_regclass('{name}') IS NULL THEN
        -- The constraint spares the attaching a scan.
        CREATE TABLE {name} (LIKE monitoring_span INCLUDING DEFAULTS,
            CONSTRAINT {name}_day CHECK (started_at >= '{start}' AND started_at < '{end}'));
        ALTER TABLE monitoring_span ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}');
        ALTER TABLE {name} DROP CONSTRAINT {name}_day;
    END IF;
END $$
"""
_NAMES: Final = """
SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
WHERE inhparent = 'monitoring_span'::regclass ORDER BY child.relname
"""


class Executor(Protocol):
    """A cursor of Django, or a connection of psycopg."""

    def execute(self, query: Any, params: Any = ..., /) -> Any: ...


def partition_name(day: date) -> str:
    """The name of the partition of `day`."""
    return f"{PREFIX}{day:%Y%m%d}"


def partition_day(name: str) -> date:
    """The day of the partition `name`."""
    return datetime.strptime(name.removeprefix(PREFIX), "%Y%m%d").replace(tzinfo=UTC).date()


def partition_names() -> list[str]:
    """The names of all partitions, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(_NAMES)
        return [name for (name,) in cursor.fetchall()]


def create_partitions(on: Executor, days: Iterable[date]) -> None:
    """Make the partitions of `days` that do not exist. Raises the driver's error when the table is locked for longer
    than the connection's `lock_timeout`."""
    for day in sorted(set(days)):
        start, end = _midnight(day), _midnight(day + _ONE_DAY)
        on.execute(_CREATE.format(name=partition_name(day), start=start.isoformat(), end=end.isoformat()))


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
