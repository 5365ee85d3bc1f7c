"""The world of a recorded turn: what its tools returned, and what its model was sent besides the conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agents.domain.marked_blocks import MemoryBlock, TaskBlock
from foundation.errors import TooLarge

# Of one entry of a test set, with its history and answer: what a release reads at most, and room for results.
MAX_BYTES: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """A call of a tool that has a result; `arguments` are JSON, as the model wrote them."""

    name: str
    arguments: str
    content: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """What a turn met. `summary` stood for messages before the history; `client_options` are those of the client that
    asked. `missing` says what was erased since, and is not in here."""

    calls: tuple[RecordedCall, ...] = ()
    memories: tuple[MemoryBlock, ...] = ()
    tasks: tuple[TaskBlock, ...] = ()
    summary: str = ""
    client_options: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()

    @classmethod
    def parse(cls, stored: Mapping[str, Any]) -> Recording:
        """The recording in a row; one without anything is an empty world."""
        return cls(
            calls=tuple(RecordedCall(**call) for call in stored.get("calls", ())),
            memories=tuple(MemoryBlock(**memory) for memory in stored.get("memories", ())),
            tasks=tuple(TaskBlock(**task) for task in stored.get("tasks", ())),
            summary=stored.get("summary", ""),
            client_options=stored.get("client_options"),
            missing=tuple(stored.get("missing", ())),
        )

    def dump(self) -> dict[str, Any]:
        """As a row keeps it; what is empty is left out."""
        content = {
            "calls": [
                {"name": c.name, "arguments": c.arguments, "content": c.content, "is_error": c.is_error}
                for c in self.calls
            ],
            "memories": [
                {"id": m.id, "text": m.text, "score": m.score, "is_trusted": m.is_trusted} for m in self.memories
            ],
            "tasks": [{"id": task.id, "text": task.text} for task in self.tasks],
            "summary": self.summary,
            "client_options": dict(self.client_options) if self.client_options else None,
            "missing": list(self.missing),
        }
        return {name: value for name, value in content.items() if value}


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """A turn as an entry of a test set: `history` are `{"author", "parts"}`, oldest first; `question` and `answer` are
    parts."""

    history: Sequence[Mapping[str, Any]]
    question: Sequence[Mapping[str, Any]]
    answer: Sequence[Mapping[str, Any]]
    recording: Recording

    def require_size(self) -> None:
        """Raise `TooLarge` for a turn that is too large for an entry."""
        size = len(json.dumps([self.history, self.question, self.answer, self.recording.dump()]))
        if size > MAX_BYTES:
            raise TooLarge(f"A turn of more than {MAX_BYTES // 1024 // 1024} MB cannot be an entry of a test set.")


def canonical_call(name: str, arguments: str) -> tuple[str, str]:
    """What calls have in common that a recording takes for the same: the tool, and the arguments whatever their order
    and their spaces. Arguments that are no JSON are compared as they are."""
    try:
        return name, json.dumps(json.loads(arguments or "{}"), sort_keys=True, separators=(",", ":"))
    except ValueError:
        return name, arguments
