"""Ids that sort by time."""

from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): unique without the database, and near its neighbours in every index."""
    return uuid7()


def lowest_id(moment: datetime) -> UUID:
    """The smallest UUIDv7 of `moment`: ids sort by time, so a range of time is a range of the primary key."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)
