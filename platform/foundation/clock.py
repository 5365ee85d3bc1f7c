"""The one place that reads the process's clock. Leases, deadlines and ordering use the database's clock instead."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, timezone-aware, in UTC."""
    return datetime.now(UTC)
