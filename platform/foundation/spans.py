"""Spans of a process: what it did, from when to when, in a bounded buffer until somebody writes them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from foundation.clock import now

# Some seconds of a busy process.
MAX_SPANS: Final = 20_000

# What is recorded besides the steps of a turn. `search_memory` is OpenTelemetry's name, which knows none of the others.
ADMISSION: Final = "bandstand.admission"
CONTEXT: Final = "bandstand.context"
RECALL: Final = "search_memory"
DELIVERY: Final = "bandstand.delivery"


@dataclass(frozen=True, slots=True)
class Span:
    """One thing that was done for a turn. `name` is that of OpenTelemetry's conventions where they have one;
    `error_type` is "" for success. `attributes` are JSON and never contain what people wrote."""

    turn_id: UUID
    agent_id: UUID
    name: str
    started_at: datetime
    ended_at: datetime
    attributes: Mapping[str, Any] = field(default_factory=dict)
    error_type: str = ""


def samples_nothing(_agent_id: UUID, _session_id: UUID, _turn_id: UUID) -> bool:
    """The decision where nobody writes spans: none is wanted."""
    return False


class SpanBuffer:
    """At most `size` spans. When it is full new ones are dropped and counted: whoever records never waits.

    `is_sampled(agent_id, session_id, turn_id)` decides before a span is made, so that a turn without spans costs one
    call; it is the same in every process.
    """

    def __init__(self, size: int = MAX_SPANS) -> None:
        self.is_sampled: Callable[[UUID, UUID, UUID], bool] = samples_nothing
        self.dropped = 0
        self._size = size
        self._spans: deque[Span] = deque()
        self._lock = threading.Lock()

    def open_turn(self, agent_id: UUID | None, session_id: UUID, turn_id: UUID) -> TurnSpans:
        """What records the spans of one turn: nothing where it is not sampled, or its agent is not known."""
        if agent_id is None or not self.is_sampled(agent_id, session_id, turn_id):
            return NO_SPANS
        return TurnSpans(self, agent_id, turn_id)

    def record(self, span: Span) -> None:
        """Add a span, or count it as dropped. Safe in any thread."""
        if len(self._spans) >= self._size:
            self.count_dropped(1)
        else:
            self._spans.append(span)

    def count_dropped(self, spans: int) -> None:
        """Count spans that nobody will write. Safe in any thread."""
        with self._lock:
            self.dropped += spans

    def take(self, limit: int) -> list[Span]:
        """Remove and return the oldest spans. For one thread, which writes them."""
        return [self._spans.popleft() for _ in range(min(limit, len(self._spans)))]

    def __len__(self) -> int:
        return len(self._spans)


class TurnSpans:
    """Records the spans of one turn. Without a buffer it records nothing, and asks no clock."""

    __slots__ = ("_agent_id", "_buffer", "_turn_id")

    def __init__(self, buffer: SpanBuffer | None, agent_id: UUID, turn_id: UUID) -> None:
        self._buffer = buffer
        self._agent_id = agent_id
        self._turn_id = turn_id

    @property
    def is_sampled(self) -> bool:
        """Whether anything is recorded."""
        return self._buffer is not None

    def begin(self) -> datetime | None:
        """The time, for `end`; None where nothing is recorded."""
        return now() if self._buffer is not None else None

    def end(self, name: str, started_at: datetime | None, *, error_type: str = "", **attributes: Any) -> None:
        """Record what began at `started_at` and ends now. A keyword `a__b` is the attribute `a.b`, None
        none."""
        if self._buffer is None or started_at is None:
            return
        named = {key.replace("__", "."): value for key, value in attributes.items() if value is not None}
        self._buffer.record(Span(self._turn_id, self._agent_id, name, started_at, now(), named, error_type))


NO_SPANS: Final = TurnSpans(None, UUID(int=0), UUID(int=0))
# Those of a web process, whose requests have no services of their own.
process_spans: Final = SpanBuffer()
