"""The JSON of chat completions: a whole completion, or its chunks."""

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
class CompletionHead:
    """What all chunks of a completion have in common; equal when the request is repeated."""

    id: str
    created: int
    model: str

    @classmethod
    def create(cls, accepted: AcceptedCompletion, model: str) -> CompletionHead:
        assert accepted.turn_id is not None
        # A UUIDv7 begins with its creation time in milliseconds.
        return cls(f"chatcmpl-{accepted.turn_id.hex}", (accepted.turn_id.int >> 80) // 1000, model)

    def completion(self, result: CompletionResult) -> Shape:
        message: Shape = {"role": "assistant", "content": result.text, "refusal": None}
        if result.calls:
            message |= {"content": result.text or None, "tool_calls": [_call(call) for call in result.calls]}
        if result.reasoning:
            message["reasoning_content"] = result.reasoning
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason(result)}
        return self._shape("chat.completion", [choice]) | {"usage": usage(result)} | _mark(result.fallback)

    def chunk(
        self,
        delta: Shape,
        *,
        finish_reason: FinishReason | None = None,
        with_usage: bool,
        fallback: str | None = None,
    ) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        # With usage the field is null in every chunk, and a last chunk has the numbers.
        more = ({"usage": None} if with_usage else {}) | _mark(fallback)
        return sse_event(self._shape("chat.completion.chunk", [choice]) | more)

    def usage_chunk(self, result: CompletionResult) -> bytes:
        return sse_event(self._shape("chat.completion.chunk", []) | {"usage": usage(result)})

    def _shape(self, kind: str, choices: list[Shape]) -> Shape:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


def _mark(fallback: str | None) -> Shape:
    return {"fallback": fallback} if fallback else {}


def sse_event(shape: Shape) -> bytes:
    """`shape` as a server-sent event without a name."""
    return b"data: %s\n\n" % strict_json.dumps(shape)


def finish_reason(result: CompletionResult) -> FinishReason:
    """OpenAI's `finish_reason` for a completed turn; its set is closed, so an answer that repeated itself has the
    `length` of one that was cut off."""
    if result.cut:
        return "length"
    return "tool_calls" if result.calls else "stop"


def usage(result: CompletionResult) -> Shape | None:
    """The token counts of all model calls of the turn; None if those of one of them are unknown."""
    prompt, completion = result.input_tokens, result.output_tokens
    if prompt is None or completion is None:
        return None
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": result.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": result.reasoning_tokens},
    }


def call_deltas(calls: Sequence[Part]) -> Iterable[Shape]:
    """Two deltas per tool call: first its name, as clients expect, then its arguments."""
    for index, call in enumerate(calls):
        full = _call(call)
        arguments = full["function"]["arguments"]
        name_only = {**full, "function": {**full["function"], "arguments": ""}}
        yield {"tool_calls": [{"index": index, **name_only}]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}


def _call(call: Part) -> Shape:
    return {
        "id": call["id"],
        "type": "function",
        "function": {"name": call["name"], "arguments": call["arguments"]},
    }
