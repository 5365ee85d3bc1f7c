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


def derive_id(timestamp: datetime, seed: UUID) -> UUID:
    """The UUIDv7 of `timestamp` whose other bits are a digest of both: whoever needs the id again gets the same one."""
    digest = hashlib.sha256(f"{seed} {timestamp.timestamp()}".encode()).digest()
    bits = int.from_bytes(digest[:10])
    return UUID(int=lowest_id(timestamp).int | (bits >> 68) << 64 | bits & (1 << 62) - 1)
