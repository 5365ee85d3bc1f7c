"""UUIDv7 ids for times in the past, reproducible from a seed."""

from __future__ import annotations

from datetime import datetime
from random import Random
from uuid import UUID


def make_id(timestamp: datetime, rng: Random) -> UUID:
    """A UUIDv7 of `timestamp`."""
    return UUID(id_text(int(timestamp.timestamp() * 1000), rng))


def id_text(milliseconds: int, rng: Random) -> str:
    """A UUIDv7 as text; building the text directly is faster, and millions are needed."""
    stamp = f"{milliseconds:012x}"
    noise = f"{rng.getrandbits(74):019x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-{'89ab'[int(noise[3], 16) & 3]}{noise[4:7]}-{noise[7:]}"
