"""What one device believes: it puts answers together from events, independently of the product's own replay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENDS = {
    "turn.completed": "completed",
    "turn.failed": "failed",
    "turn.cancelled": "cancelled",
    "turn.expired": "expired",
}


def text_of(parts: list[dict[str, Any]]) -> str:
    """What a person reads of a message."""
    return "".join(part["text"] for part in parts if part["type"] == "text")


@dataclass(slots=True)
class ReadTurn:
    """`streamed` is the text of the deltas since the turn was begun (anew), of which `settled` letters stand before the
    last tool; `answer` is the text of the final message.

    `whole`: every delta of the turn was seen by this device, and nobody started it a second time.
    """

    streamed: str = ""
    answer: str | None = None
    status: str = "open"
    whole: bool = True
    settled: int = 0

    @property
    def consistent(self) -> bool:
        """Whether the words that were streamed are the words that were stored."""
        if self.answer is None:
            return not self.streamed or self.status == "open" or not self.whole
        return self.streamed == self.answer if self.whole else self.answer.endswith(self.streamed)


@dataclass(slots=True)
class Reader:
    """The state of one device. `faults` collects what must never be seen on the wire."""

    seq: int = 0
    turns: dict[str, ReadTurn] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    restarts: int = 0
    resyncs: int = 0

    @property
    def open(self) -> int:
        """How many turns of the session are not over, as far as this device knows."""
        return sum(turn.status == "open" for turn in self.turns.values())

    def event(self, frame: Mapping[str, Any]) -> None:
        """Take one event frame, in the order of the wire."""
        first = frame.get("replaces_from") or frame["seq"]
        if first != self.seq + 1:
            self.faults.append(f"event {first} came after {self.seq}")
        self.seq = frame["seq"]
        turn_id, kind, data = frame["turn"], frame["event"], frame["data"]
        if turn_id is None:
            return
        turn = self.turns.setdefault(turn_id, ReadTurn())
        if turn.status != "open":
            self.faults.append(f"{kind} came after the end of turn {turn_id}")
        self._apply(turn, kind, data)

    def resync(self, frame: Mapping[str, Any]) -> None:
        """Take a snapshot in place of events."""
        if frame["seq"] < self.seq:
            self.faults.append(f"a snapshot of {frame['seq']} came after {self.seq}")
        self.resyncs += 1
        self.seq = frame["seq"]
        for turn in self.turns.values():
            turn.whole, turn.streamed, turn.settled = False, "", 0
        for message in frame["messages"]:
            if message["turn"] is not None:
                self._resynced(message, frame["turns"])
        for turn_id, shape in frame["turns"].items():
            turn = self.turns.setdefault(turn_id, ReadTurn(whole=False))
            turn.status = shape["status"] if f"turn.{shape['status']}" in ENDS else "open"
            if turn.status == "open":
                shown = shape["shown"]
                turn.streamed = text_of(shown)
                turn.settled = len(turn.streamed) - (len(text_of(shown[-1:])) if shown else 0)

    def _resynced(self, message: Mapping[str, Any], turns: Mapping[str, Any]) -> None:
        turn = self.turns.setdefault(message["turn"], ReadTurn(whole=False))
        if message["author"] == "agent":
            turn.answer = text_of(message["parts"])
        if message["turn"] not in turns:
            turn.status = "completed"

    def _apply(self, turn: ReadTurn, kind: str, data: Mapping[str, Any]) -> None:
        if kind == "message.delta":
            turn.streamed += data["text"]
        elif kind.startswith("tool."):
            turn.settled = len(turn.streamed)
        elif kind == "model.retrying":
            turn.streamed = turn.streamed[: turn.settled]
        elif kind == "turn.restarted":
            turn.streamed, turn.settled, turn.whole = "", 0, False
            self.restarts += 1
        elif kind == "message.completed":
            if turn.answer is not None:
                self.faults.append("a turn was answered twice")
            turn.answer = text_of(data["message"]["parts"])
        elif kind in ENDS:
            turn.status = ENDS[kind]
            if not turn.consistent:
                self.faults.append(f"streamed {turn.streamed!r}, stored {turn.answer!r}")
