"""What a vendor wants back with an answer that calls tools, as `ProviderExtras.fields`.

These are `{"provider", "thinking": [{"offset", "content", "id", "signature", "details"}], "calls": {id: details}}`: the
signed thinking, with the number of characters of the answer's text before it, and the signatures of calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import ModelResponse, TextPart, ThinkingPart, ToolCallPart

from agents.llm.interface import ProviderExtras, ToolCall
from foundation.storable_text import storable_text


@dataclass(frozen=True)
class StoredExtras:
    """The extras of one answer; none by default."""

    provider_name: str | None = None
    thinking: Sequence[tuple[int, ThinkingPart]] = ()
    call_details: Mapping[str, dict[str, Any]] = field(default_factory=dict)


def extra_fields(response: ModelResponse, calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The fields for `response`, whose calls are `calls`; empty if there is nothing to give back."""
    thinking, details, offset, number = list[dict[str, Any]](), dict[str, Any](), 0, 0
    for part in response.parts:
        if isinstance(part, TextPart):
            offset += len(storable_text(part.content))
        elif isinstance(part, ThinkingPart) and (part.signature or part.provider_details):
            thinking.append(
                {
                    "offset": offset,
                    "content": storable_text(part.content),
                    "id": part.id,
                    "signature": part.signature,
                    "details": part.provider_details,
                }
            )
        elif isinstance(part, ToolCallPart):
            if part.provider_details:
                details[calls[number].id] = part.provider_details
            number += 1
    if not calls or not (thinking or details):
        return {}
    return {"provider": response.provider_name, "thinking": thinking, "calls": details}


def read_extras(extras: ProviderExtras | None) -> StoredExtras:
    """What `extra_fields` has made; nothing of fields in any other form."""
    match extras.fields if extras is not None else None:
        case {"provider": str(name), "thinking": list(thinking), "calls": dict(calls)}:
            read = [_thinking(stored, name) for stored in thinking]
            details = {key: value for key, value in calls.items() if isinstance(value, dict)}
            return StoredExtras(name, [one for one in read if one is not None], details)
    return StoredExtras()


def _thinking(stored: Any, provider_name: str) -> tuple[int, ThinkingPart] | None:
    """Thinking that can go back: without a signature a vendor would take it for text."""
    match stored:
        case {"offset": int(offset), "content": str(content), "signature": str(signature)} if signature:
            return offset, ThinkingPart(
                content,
                id=stored.get("id"),
                signature=signature,
                provider_name=provider_name,
                provider_details=stored.get("details"),
            )
    return None
