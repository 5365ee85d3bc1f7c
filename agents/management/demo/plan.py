"""When the demo's people talked, and how often: drawn from a seed, in the order of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random

from agents.management.demo.agents_and_users import DAYS, DemoPeople, Part
from agents.management.demo.ids import id_text
from agents.management.demo.texts import SUBJECTS

_HOUR = 3_600_000
_DAY = 24 * _HOUR
# How many turns a conversation has: many are short.
_LENGTHS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45)
LONG_ONES = 3


@dataclass(slots=True)
class DemoSession:
    """A session as it grows: what the next message and the next event get, and the message at its head."""

    key: str
    user: int
    part: Part
    release: str
    number: int
    subject: int
    began_ms: int
    last_ms: int = 0
    next_seq: int = 1
    next_ordinal: int = 1
    head: str | None = None

    @property
    def title(self) -> str:
        return f"About {SUBJECTS[self.subject]}"


def plan(
    rng: Random, cast: DemoPeople, *, turns: int, until: datetime
) -> tuple[list[DemoSession], list[tuple[int, int]]]:
    """The conversations, and for each turn its millisecond and the index of its conversation, by time."""
    until_ms = int(until.timestamp() * 1000)
    since_ms = until_ms - DAYS * _DAY
    talks: list[DemoSession] = []
    moments: list[tuple[int, int]] = []
    for length in _lengths(rng, turns):
        offsets = _offsets(rng, length)
        talk = _talk(rng, cast, since_ms, until_ms, lasts_ms=offsets[-1])
        moments += [(talk.began_ms + offset, len(talks)) for offset in offsets]
        talks.append(talk)
    moments.sort()
    return talks, moments


def _lengths(rng: Random, turns: int) -> Iterator[int]:
    long = min(4_000, turns // 50)
    left = turns
    for _ in range(LONG_ONES if long > max(_LENGTHS) else 0):
        yield long
        left -= long
    while left > 0:
        length = min(left, rng.choice(_LENGTHS))
        yield length
        left -= length


def _offsets(rng: Random, length: int) -> list[int]:
    """Milliseconds from a conversation's begin to each of its turns."""
    offsets = [0]
    longest = (DAYS - 1) * _DAY // max(1, length)
    for _ in range(length - 1):
        # An answer takes 30 s at most, so that no turn of the demo overtakes the one before it.
        pause = 40_000 + int(rng.expovariate(1 / 200_000)) + (rng.random() < 0.05) * 12 * _HOUR
        offsets.append(offsets[-1] + min(pause, longest))
    return offsets


def _talk(rng: Random, cast: DemoPeople, since_ms: int, until_ms: int, *, lasts_ms: int) -> DemoSession:
    [part] = rng.choices(cast.parts, [part.share for part in cast.parts])
    # More by day than by night, and a little more each week.
    day = int(DAYS * rng.random() ** 0.8)
    hour = min(23.99, max(0.0, rng.gauss(13, 4)))
    # A conversation that would reach beyond the end began earlier.
    latest = (part.ends_ms or until_ms) - 60_000 - lasts_ms
    began = max(since_ms, min(since_ms + day * _DAY + int(hour * _HOUR), latest))
    _, release, number = [made for made in part.releases if made[0] <= began][-1]
    # A few people talk much: the rank of the person falls off quickly.
    person = cast.people[min(len(cast.people) - 1, int(len(cast.people) * rng.random() ** 2.2))]
    return DemoSession(
        id_text(began, rng), person, part, str(release), number, rng.randrange(len(SUBJECTS)), began, last_ms=began
    )
