"""The messages of a conversation as a model sees them: plain frozen values that everything else builds on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MessageRole = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as it is offered to a model. `parameters` is a JSON schema of one object; `strict` asks for arguments that
    keep to it, of the models that can promise that."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """An answer whose text is one JSON value: of `schema`, or any object when there is none. `name` is the schema's."""

    schema: dict[str, Any] | None = None
    name: str = "answer"
    description: str = ""
    strict: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call that the model asked for. `arguments` is the JSON text as the model wrote it: it may be malformed.

    `issued_id` is the id that the provider gave to the call, where requests have another one as its `id`.
    """

    id: str
    name: str
    arguments: str
    issued_id: str = field(default="", compare=False)

    @property
    def provider_id(self) -> str:
        """The id that the provider gave to this call."""
        return self.issued_id or self.id


@dataclass(frozen=True, slots=True)
class ProviderExtras:
    """What came with an answer besides its text and calls, and goes back to the same `route` only.

    `reasoning` is the model's reasoning as text. `fields` is what else the provider wants back (signatures, encrypted
    reasoning): JSON that only the adapter which returned it can read.
    """

    route: str
    reasoning: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message of a request to a model.

    `tool_calls` and `extras` belong to the role `assistant`; `tool_call_id` belongs to the role `tool` and names the
    call that the message answers.
    """

    role: MessageRole
    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    extras: ProviderExtras | None = None
