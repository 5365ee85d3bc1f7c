"""The one place that reads the process's clock. Leases, deadlines and orders use the database's instead."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present moment, aware, in UTC."""
    return datetime.now(UTC)
