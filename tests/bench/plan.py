"""What is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Transport = Literal["websocket", "sse"]


@dataclass(frozen=True, slots=True)
class Pace:
    """How the model provider answers: `ttft_ms` until the first token, then `tps` tokens a second (0: all at once)."""

    tokens: int = 50
    ttft_ms: float = 0
    tps: float = 0

    @property
    def route(self) -> str:
        """The model's name as the provider reads it."""
        return f"openai:fake.tokens-{self.tokens}.ttft_ms-{self.ttft_ms:g}.tps-{self.tps:g}"

    @property
    def total_ms(self) -> float:
        """The time that the provider itself takes for its answer."""
        return self.ttft_ms + (1000 * (self.tokens - 1) / self.tps if self.tps else 0)


AT_ONCE = Pace()
REAL = Pace(ttft_ms=300, tps=100)


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table: `concurrency` sessions at a time, each for `turns` turns, for `seconds` a window.

    A session begins with `history` messages. `sockets` is how many sessions a window opens before its clock starts.
    Sessions begin at times spread over the length of the provider's answer: people do not press Enter together, and
    turns that all take equally long would go on in step for the whole window.
    """

    name: str
    transport: Transport
    concurrency: int
    seconds: float
    pace: Pace = AT_ONCE
    turns: int = 10
    history: int = 0
    sockets: int | None = None

    @property
    def sessions(self) -> int:
        """Enough for a window at 150 turns a second."""
        expected = self.concurrency if self.pace.total_ms else int(150 * self.seconds / self.turns)
        return self.sockets or max(self.concurrency, expected)


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    floor_seconds: int
    sockets: int
    cases: tuple[Case, ...]


LONG_HISTORY = 1000


def plan(*, quick: bool) -> Plan:
    """All of it in under four minutes; `quick` in under one."""
    seconds = 2.5 if quick else 5.0
    cases = (
        Case("websocket, 1 session", "websocket", 1, seconds),
        Case("websocket, 32 sessions", "websocket", 32, seconds),
        Case("websocket, 128 sessions", "websocket", 128, seconds),
        Case("REST stream, 1 session", "sse", 1, seconds),
        Case("REST stream, 32 sessions", "sse", 32, seconds),
        # As many sockets and as many turns in both, so that nothing but the history differs.
        Case("history of 1 message", "websocket", 1, seconds, turns=2, sockets=100),
        Case("history of 1,000 messages", "websocket", 1, seconds, turns=2, sockets=100, history=LONG_HISTORY),
        Case("real pace, 32 sessions", "websocket", 32, seconds + 2.5, pace=REAL, turns=20),
        Case("real pace, 256 sessions", "websocket", 256, seconds + 5, pace=REAL, turns=20),
    )
    return Plan(rounds=1 if quick else 3, floor_seconds=2 if quick else 5, sockets=200 if quick else 2000, cases=cases)
