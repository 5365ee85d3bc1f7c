"""The interface of every model: one request, a stream of text, one `Finished` at the end, or a `ModelError`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from agents.domain.model_messages import ChatMessage, JsonFormat, MessageRole, ProviderExtras, ToolCall, ToolSpec
from agents.domain.rate_limits import RateLimits

__all__ = [
    "LLM",
    "ChatMessage",
    "Deadlines",
    "FinishReason",
    "Finished",
    "FirstToken",
    "JsonFormat",
    "MessageRole",
    "ModelEvent",
    "ModelRequest",
    "ProviderExtras",
    "RateLimits",
    "ReasoningDelta",
    "TextDelta",
    "ToolCall",
    "ToolSpec",
    "Usage",
    "UsageUpdate",
]

# `length`: a limit of tokens ended the answer; `repetition`: the provider did, because the model repeated itself.
FinishReason = Literal["stop", "tool_calls", "length", "repetition"]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long we wait for a model. Passing any of them is a `TransientModelError`.

    connect: until the connection is established (name, TCP, TLS). first_token: from the request to the first text, tool
    call or reasoning. silence: between two events of the stream after that. total: from the request to the end of the
    stream.
    """

    connect_seconds: float = 5
    first_token_seconds: float = 60
    silence_seconds: float = 30
    total_seconds: float = 300


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counts them. What it read from its cache, or wrote to it, is part of the input; its
    reasoning is part of the output. None of the last three is reported by every provider: 0 then."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model. `model` is the name the provider knows, without our prefix.

    The text ends before the first of the `stop` texts. With `must_call` the model calls one of the `tools`, of which
    there is one at least; a model that its server does not force may answer in words. `one_call` asks for one call at
    most, which not every provider supports: callers must ignore further calls. A provider that cannot answer in `json`
    raises `BadModelRequest`.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSpec, ...] = ()
    max_output_tokens: int | None = None
    stop: tuple[str, ...] = ()
    must_call: bool = False
    one_call: bool = False
    json: JsonFormat | None = None
    deadlines: Deadlines = field(default_factory=Deadlines)


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The answer has begun, with text, a tool call or reasoning, which follow. `request_id` is the provider's id of
    this request, `rate_limits` is what it says of its limits; None if it sent none."""

    request_id: str | None
    rate_limits: RateLimits | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text: all that one read of the network returned, so that a fast stream causes few events. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """More of the model's reasoning, which is no part of the answer. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """The usage so far, sent before the end. If the answer breaks off, it is billed; the output of one that has gone on
    since is unknown."""

    usage: Usage
    response_model: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a complete answer, which may be empty: that is judged by the caller. `usage` is None when the provider
    did not send any. The ids of the calls are unique.

    With `length` the last call may be cut: its arguments are then no valid JSON. `extra_fields` are the `fields` of its
    `ProviderExtras`. `notes` are for `Step.details`: what was odd about the answer or its request, such as
    `unconfirmed_end`.
    """

    tool_calls: tuple[ToolCall, ...]
    usage: Usage | None
    finish_reason: FinishReason
    response_model: str | None
    extra_fields: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


ModelEvent = FirstToken | TextDelta | ReasoningDelta | UsageUpdate | Finished


class LLM(Protocol):
    """A model, or a family of models behind one address."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask once. One `FirstToken` before the first text or call, any number of `TextDelta`, `ReasoningDelta` and
        `UsageUpdate`, then exactly one `Finished`; or a `ModelError` at any point.

        Cancelling the task closes the provider's stream at once and re-raises `CancelledError`. A caller that leaves
        the loop early must close the generator (`contextlib.aclosing`), which has the same effect. Nothing is retried
        here.
        """
        ...

    async def aclose(self) -> None:
        """Close all connections. Streams that still run end with an error."""
        ...
