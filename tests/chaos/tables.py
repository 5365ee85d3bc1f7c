"""What the database says in the end, read once."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.reader import text_of
from tests.chaos.stack import Database


@dataclass(frozen=True, slots=True)
class SessionRow:
    id: str
    next_seq: int
    next_ordinal: int
    open_turns: int
    active_turn: str | None


@dataclass(frozen=True, slots=True)
class TurnRow:
    id: str
    session: str
    ordinal: int
    key: str
    status: str
    epoch: int
    error_class: str
    started: bool


@dataclass(frozen=True, slots=True)
class MessageRow:
    id: str
    session: str
    turn: str | None
    ordinal: int
    author: str
    parts: list[dict[str, Any]]

    @property
    def text(self) -> str:
        return text_of(self.parts)


@dataclass(frozen=True, slots=True)
class EventRow:
    session: str
    seq: int
    replaces_from: int | None
    turn: str | None
    epoch: int
    type: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepRow:
    turn: str
    number: int
    kind: str
    status: str
    name: str


@dataclass(frozen=True, slots=True)
class EpisodeRow:
    """A part of a message that is remembered."""

    message: str
    chunk: int
    text: str


@dataclass(frozen=True, slots=True)
class CounterRow:
    """How many turns of a status, or calls of a kind, are counted in the rollups of one width."""

    width: str
    name: str
    count: int


@dataclass(frozen=True, slots=True)
class SampleRow:
    """What a process said of itself; in the order in which it did."""

    process: str
    requests: int
    errors: int


@dataclass(frozen=True)
class Tables:
    """All rows of a pass; events by session in the order of their seq, messages by ordinal."""

    sessions: list[SessionRow]
    turns: dict[str, TurnRow]
    messages: list[MessageRow]
    events: dict[str, list[EventRow]]
    steps: list[StepRow]
    episodes: list[EpisodeRow] = field(default_factory=list)
    counters: list[CounterRow] = field(default_factory=list)
    samples: list[SampleRow] = field(default_factory=list)


async def read_tables(database: Database) -> Tables:
    """Raises `NotSeen` when PostgreSQL does not answer."""
    rows = database.rows_soon
    turns = await rows(
        "SELECT id::text, agent_session_id::text, ordinal, idempotency_key, status, epoch, error_class,"
        " started_at IS NOT NULL FROM agents_turn"
    )
    events: dict[str, list[EventRow]] = defaultdict(list)
    for row in await rows(
        "SELECT agent_session_id::text, seq, replaces_from, turn_id::text, epoch, type, data::text"
        " FROM agents_event ORDER BY agent_session_id, seq"
    ):
        events[row[0]].append(EventRow(*(*row[:6], json.loads(row[6]))))
    messages = await rows(
        "SELECT id::text, agent_session_id::text, turn_id::text, ordinal, author, parts::text"
        " FROM agents_message ORDER BY agent_session_id, ordinal"
    )
    sessions = await rows(
        "SELECT id::text, next_seq, next_ordinal, open_turns, active_turn_id::text FROM agents_agentsession"
    )
    steps = await rows("SELECT turn_id::text, number, kind, status, name FROM agents_step ORDER BY turn_id, number")
    episodes = await rows(
        "SELECT b.message::text, coalesce((b.metadata ->> 'chunk')::int, 1), b.text"
        " FROM memory_memorybody b JOIN memory_memory m ON m.id = b.memory_id WHERE b.source = 'turn' ORDER BY 1, 2"
    )
    counters = await rows(
        "SELECT width, status, sum(turns)::int FROM agents_turnrollup GROUP BY 1, 2 UNION ALL"
        " SELECT width, operation, sum(calls)::int FROM agents_callrollup GROUP BY 1, 2"
    )
    samples = await rows(
        "SELECT process_id::text, requests_total, errors_total FROM monitoring_processsample ORDER BY id"
    )
    return Tables(
        sessions=[SessionRow(*row) for row in sessions],
        turns={row[0]: TurnRow(*row) for row in turns},
        messages=[MessageRow(*(*row[:5], json.loads(row[5]))) for row in messages],
        events=events,
        steps=[StepRow(*row) for row in steps],
        episodes=[EpisodeRow(*row) for row in episodes],
        counters=[CounterRow(*row) for row in counters],
        samples=[SampleRow(*row) for row in samples],
    )
