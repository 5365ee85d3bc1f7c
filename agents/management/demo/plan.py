"""The conversations of the demo and their times, drawn from a seed, in chronological order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from random import Random

from agents.management.demo.agents_and_users import DAYS, DemoAgent, Population
from agents.management.demo.past_ids import id_text
from agents.management.demo.texts import SUBJECTS

_HOUR = 3_600_000
_DAY = 24 * _HOUR
# How many turns a conversation has: many are short.
_LENGTHS = (1, 1, 2, 2, 3, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, 45)
LONG_SESSIONS = 3


@dataclass(slots=True)
class DemoSession:
    """A session as it grows, with its next ordinal and seq and the message at its head. Times in Unix milliseconds."""

    key: str
    user: int
    agent: DemoAgent
    release: str
    number: int
    subject: int
    started_ms: int
    last_ms: int = 0
    next_seq: int = 1
    next_ordinal: int = 1
    head: str | None = None

    @property
    def title(self) -> str:
        return f"About {SUBJECTS[self.subject]}"


def plan(
    rng: Random, population: Population, *, turns: int, until: datetime
) -> tuple[list[DemoSession], list[tuple[int, int]]]:
    """The sessions, and for each turn its time in Unix milliseconds and the index of its session, by time."""
    until_ms = int(until.timestamp() * 1000)
    since_ms = until_ms - DAYS * _DAY
    sessions: list[DemoSession] = []
    moments: list[tuple[int, int]] = []
    for length in _lengths(rng, turns):
        offsets = _offsets(rng, length)
        session = _make_session(rng, population, since_ms, until_ms, lasts_ms=offsets[-1])
        moments += [(session.started_ms + offset, len(sessions)) for offset in offsets]
        sessions.append(session)
    moments.sort()
    return sessions, moments


def _lengths(rng: Random, turns: int) -> Iterator[int]:
    long_length = min(4_000, turns // 50)
    remaining = turns
    for _ in range(LONG_SESSIONS if long_length > max(_LENGTHS) else 0):
        yield long_length
        remaining -= long_length
    while remaining > 0:
        length = min(remaining, rng.choice(_LENGTHS))
        yield length
        remaining -= length


def _offsets(rng: Random, length: int) -> list[int]:
    """Milliseconds from the start of a session to each of its turns."""
    offsets = [0]
    max_pause = (DAYS - 1) * _DAY // max(1, length)
    for _ in range(length - 1):
        # An answer takes 30 s at most, so that no turn of the demo overtakes the one before it.
        pause = 40_000 + int(rng.expovariate(1 / 200_000)) + (rng.random() < 0.05) * 12 * _HOUR
        offsets.append(offsets[-1] + min(pause, max_pause))
    return offsets


def _make_session(rng: Random, population: Population, since_ms: int, until_ms: int, *, lasts_ms: int) -> DemoSession:
    [agent] = rng.choices(population.agents, [agent.share for agent in population.agents])
    # More by day than by night, and a little more each week.
    day = int(DAYS * rng.random() ** 0.8)
    hour = min(23.99, max(0.0, rng.gauss(13, 4)))
    # A conversation that would reach beyond the end began earlier.
    latest = (agent.ends_ms or until_ms) - 60_000 - lasts_ms
    started_ms = max(since_ms, min(since_ms + day * _DAY + int(hour * _HOUR), latest))
    _, release, number = [candidate for candidate in agent.releases if candidate[0] <= started_ms][-1]
    # A few users have most of the conversations: the weight falls off quickly with the rank.
    user = population.users[min(len(population.users) - 1, int(len(population.users) * rng.random() ** 2.2))]
    return DemoSession(
        id_text(started_ms, rng),
        user,
        agent,
        str(release),
        number,
        rng.randrange(len(SUBJECTS)),
        started_ms,
        last_ms=started_ms,
    )
