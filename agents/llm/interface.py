"""What every model looks like to us: one request in, a stream of text out, one `Finished` last, or a `ModelError`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from agents.domain.chat import ChatMessage, JsonFormat, Role, ToolCall, ToolSpec

__all__ = [
    "LLM",
    "ChatMessage",
    "Deadlines",
    "FinishReason",
    "Finished",
    "FirstToken",
    "JsonFormat",
    "ModelEvent",
    "ModelRequest",
    "Role",
    "TextDelta",
    "ToolCall",
    "ToolSpec",
    "Usage",
    "UsageUpdate",
]

FinishReason = Literal["stop", "tool_calls", "length"]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long we wait for a model. Passing any of them is a `TransientModelError`.

    connect: until the connection stands (name, TCP, TLS). first_token: from the request to the first text, tool call or
    reasoning. silence: between two events of the stream after that. total: from the request to the end of the stream.
    """

    connect_seconds: float = 5
    first_token_seconds: float = 60
    silence_seconds: float = 30
    total_seconds: float = 300


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counts them. What it read from its cache, or wrote to it, is part of the input."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One call of a model. `model` is the name the provider knows, without our prefix.

    The text ends before the first of the `stop` texts. With `must_call` the model calls one of the `tools`, of which
    there is one at least. `one_call` asks for one call at most, which not every provider knows: whoever asks counts.
    A provider that cannot give `json` refuses (`BadModelRequest`).
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
    """The first sign of an answer: text, a tool call or reasoning, of which it holds nothing. `request_id` is the
    provider's name of this request, None where it gives none."""

    request_id: str | None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """More text: all that one read of the network brought, so that a fast stream costs few events. Never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class UsageUpdate:
    """What the provider has counted so far, told before the end: it is what counts if the answer never ends well."""

    usage: Usage
    response_model: str | None


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of a whole answer. `usage` is None when the provider said nothing. The ids of the calls are unique.

    With `length` the last call may be cut: its arguments are then no valid JSON.
    """

    tool_calls: tuple[ToolCall, ...]
    usage: Usage | None
    finish_reason: FinishReason
    response_model: str | None


ModelEvent = FirstToken | TextDelta | UsageUpdate | Finished


class LLM(Protocol):
    """A model, or a family of models behind one address."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Ask once. One `FirstToken` before the first text or call, any number of `TextDelta` and `UsageUpdate`, then
        exactly one `Finished`; or a `ModelError` at any point.

        Cancelling the task closes the provider's stream at once and re-raises `CancelledError`. Whoever leaves the loop
        early must close the generator (`contextlib.aclosing`), which closes the stream, too. Nothing is retried here.
        """
        ...

    async def aclose(self) -> None:
        """Close what is open. Streams that still run end with an error."""
        ...
