"""The shapes of answers: one whole, or its chunks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from agents.domain.message_parts import Part
from agents.sessions import AcceptedCompletion, CompletionResult
from foundation import strict_json

FinishReason = Literal["stop", "length", "tool_calls"]
Shape = dict[str, Any]

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Head:
    """What all chunks of an answer have in common; a repeated request gets an equal one. `created` is in seconds."""

    id: str
    created: int
    model: str

    @classmethod
    def of(cls, accepted: AcceptedCompletion, model: str) -> Head:
        assert accepted.turn_id is not None
        # A UUIDv7 begins with the milliseconds at which it was made.
        return cls(f"chatcmpl-{accepted.turn_id.hex}", (accepted.turn_id.int >> 80) // 1000, model)

    def whole(self, outcome: CompletionResult) -> Shape:
        message: Shape = {"role": "assistant", "content": outcome.text, "refusal": None}
        if outcome.calls:
            message |= {"content": outcome.text or None, "tool_calls": [_call(call) for call in outcome.calls]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(outcome)}
        return self._shape("chat.completion", [choice]) | {"usage": usage(outcome)}

    def chunk(self, delta: Shape, *, finished: FinishReason | None = None, with_usage: bool) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}
        # Who wants the usage gets the field in every chunk, and the numbers in one of their own.
        return framed(self._shape("chat.completion.chunk", [choice]) | ({"usage": None} if with_usage else {}))

    def usage_chunk(self, outcome: CompletionResult) -> bytes:
        return framed(self._shape("chat.completion.chunk", []) | {"usage": usage(outcome)})

    def _shape(self, kind: str, choices: list[Shape]) -> Shape:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def framed(shape: Shape) -> bytes:
    return b"data: %s\n\n" % strict_json.dumps(shape)


def finish_reason(outcome: CompletionResult) -> FinishReason:
    if outcome.cut:
        return "length"
    return "tool_calls" if outcome.calls else "stop"


def usage(outcome: CompletionResult) -> Shape:
    """All model calls of the turn together."""
    read, written = outcome.input_tokens, outcome.output_tokens
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def call_deltas(calls: Sequence[Part]) -> Iterable[Shape]:
    """Each call in two: its name first, as every client expects, then its arguments."""
    for index, call in enumerate(calls):
        whole = _call(call)
        arguments = whole["function"]["arguments"]
        named = {**whole, "function": {**whole["function"], "arguments": ""}}
        yield {"tool_calls": [{"index": index, **named}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def _call(call: Part) -> Shape:
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"]},
    }
