"""UUIDs that sort by time."""

import hashlib
from datetime import datetime
from uuid import UUID

from uuid_utils.compat import uuid7


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562): generated without the database, and sorted by time in every index."""
    return uuid7()


def lowest_id(timestamp: datetime) -> UUID:
    """The smallest UUIDv7 of `timestamp`, for selecting a range of time by a range of the primary key."""
    milliseconds = int(timestamp.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)


def id_time_sql(column: str) -> str:
    """The SQL of the time of a UUIDv7, to the millisecond: rows that `lowest_id` selects lie on the same side of it."""
    # PostgreSQL 18 has `uuid_extract_timestamp`, the versions before do not.
    return f"to_timestamp(('x' || translate(left({column}::text, 13), '-', ''))::bit(48)::bigint / 1000.0)"


def derive_id(timestamp: datetime, seed: UUID) -> UUID:
    """The UUIDv7 of `timestamp` whose other bits are a digest of both: whoever needs the id again gets the same one."""
    digest = hashlib.sha256(f"{seed} {timestamp.timestamp()}".encode()).digest()
    bits = int.from_bytes(digest[:10])
    return UUID(int=lowest_id(timestamp).int | (bits >> 68) << 64 | bits & (1 << 62) - 1)
