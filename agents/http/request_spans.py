"""The spans that a web process records of a turn: its admission, and its delivery to each who follows it.

Nothing waits for them, and a turn that is not sampled costs one look.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from agents.domain.events import TERMINAL_EVENTS, EventType
from agents.relay import LoggedEvent
from foundation.clock import now
from foundation.spans import ADMISSION, DELIVERY, NO_SPANS, TurnSpans, process_spans

WEBSOCKET: Final = "websocket"
SSE: Final = "sse"
REST: Final = "rest"
OPENAI: Final = "openai"

_WORDS: Final = frozenset({EventType.MESSAGE_DELTA, EventType.REASONING_DELTA})
# What is older was not delivered live: somebody reads the log of a turn that has long ended.
_LIVE: Final = timedelta(minutes=1)


def record_admission(
    agent_id: UUID | None, session_id: UUID, turn_id: UUID | None, started_at: datetime, *, transport: str
) -> None:
    """Record that the message of `turn_id` was accepted just now. Without an agent or a turn nothing was admitted."""
    if turn_id is not None:
        spans = process_spans.open_turn(agent_id, session_id, turn_id)
        spans.end(ADMISSION, started_at, bandstand__transport=transport)


class TurnDelivery:
    """The delivery of one turn to one client, from the first words to the end."""

    __slots__ = ("_first_at", "_lag_seconds", "_spans", "_transport")

    def __init__(self, agent_id: UUID | None, session_id: UUID, turn_id: UUID, *, transport: str) -> None:
        self._spans: TurnSpans = process_spans.open_turn(agent_id, session_id, turn_id)
        self._transport = transport
        self._first_at: datetime | None = None
        self._lag_seconds: float | None = None

    @property
    def is_recorded(self) -> bool:
        """Whether it is worth reporting what was sent."""
        return self._spans.is_sampled

    def sent_words(self, logged_at: str = "") -> None:
        """Words were written to the client; `logged_at` is when they were written to the log, as ISO 8601."""
        if self._first_at is None and self._spans.is_sampled:
            self._first_at = now()
            if logged_at:
                lag = self._first_at - datetime.fromisoformat(logged_at)
                self._lag_seconds = round(lag.total_seconds(), 6)
                if lag > _LIVE:
                    self._spans = NO_SPANS

    def sent_end(self) -> None:
        """The turn's end was written to the client. Without words there is nothing to record."""
        self._spans.end(
            DELIVERY,
            self._first_at,
            bandstand__transport=self._transport,
            bandstand__lag_seconds=self._lag_seconds,
        )
        self._spans = NO_SPANS


class SessionDelivery:
    """The deliveries of one session's turns to one client, by the events that were written to it."""

    def __init__(self, agent_id: UUID | None, session_id: UUID, *, transport: str) -> None:
        self._agent_id = agent_id
        self._session_id = session_id
        self._transport = transport
        self._turn: str | None = None
        self._delivery: TurnDelivery | None = None

    def sent(self, event: LoggedEvent) -> None:
        """`event` was written to the client."""
        if event.turn != self._turn:
            self._begin(event.turn)
        if self._delivery is not None:
            if event.type in _WORDS:
                self._delivery.sent_words(event.at)
            elif event.type in TERMINAL_EVENTS:
                self._delivery.sent_end()

    def _begin(self, turn: str | None) -> None:
        self._turn, self._delivery = turn, None
        if turn is not None and self._agent_id is not None:
            delivery = TurnDelivery(self._agent_id, self._session_id, UUID(turn), transport=self._transport)
            self._delivery = delivery if delivery.is_recorded else None
