"""Ids of moments that have passed, the same for the same seed."""

from __future__ import annotations

from datetime import datetime
from random import Random
from uuid import UUID


def make_id(moment: datetime, rng: Random) -> UUID:
    """A UUIDv7 of `moment`."""
    return UUID(id_text(int(moment.timestamp() * 1000), rng))


def id_text(milliseconds: int, rng: Random) -> str:
    """A UUIDv7 of so many milliseconds since 1970, as text: a million of them are wanted."""
    stamp = f"{milliseconds:012x}"
    noise = f"{rng.getrandbits(74):019x}"
    return f"{stamp[:8]}-{stamp[8:]}-7{noise[:3]}-{'89ab'[int(noise[3], 16) & 3]}{noise[4:7]}-{noise[7:]}"
