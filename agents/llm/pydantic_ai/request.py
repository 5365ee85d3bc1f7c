"""The messages of a request, for pydantic-ai."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.messages import (
    ModelRequest as VendorRequest,
)

from agents.llm.interface import ChatMessage, ModelRequest, ToolCall
from agents.llm.pydantic_ai.extras import StoredExtras, read_extras
from agents.llm.role_order import calls_as_text, order_roles


def model_messages(request: ModelRequest) -> list[ModelMessage]:
    """The conversation; all messages between two answers become one, and roles take turns, as Bedrock demands.

    In a request without tools, earlier calls become text: Anthropic and Bedrock refuse calls in its history. Results
    are answered before the next question: not every model takes both in one message.
    """
    messages = request.messages if request.tools else calls_as_text(request.messages)
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    out: list[ModelMessage] = []
    request_parts: list[ModelRequestPart] = []
    for message in order_roles(messages, alternate=True, answer_results=True):
        if message.role != "assistant":
            request_parts.append(_request_part(message, names))
            continue
        if request_parts:
            out.append(VendorRequest(parts=request_parts))
            request_parts = []
        out.append(_response(message))
    if request_parts:
        out.append(VendorRequest(parts=request_parts))
    return out


def _request_part(message: ChatMessage, names: Mapping[str, str]) -> ModelRequestPart:
    if message.role == "system":
        return SystemPromptPart(message.text)
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        return ToolReturnPart(tool_name=names.get(call_id, "unknown"), content=message.text, tool_call_id=call_id)
    return UserPromptPart(message.text)


def _response(message: ChatMessage) -> ModelResponse:
    extras = read_extras(message.extras)
    parts = [*_text_and_thinking(message.text, extras), *_calls(message.tool_calls, extras)]
    return ModelResponse(parts=parts, provider_name=extras.provider_name)


def _text_and_thinking(text: str, extras: StoredExtras) -> Iterator[ModelResponsePart]:
    """The text with the thinking where it stood: its signatures hold for this order only."""
    done = 0
    for offset, thinking in extras.thinking:
        if piece := text[done:offset].strip():
            yield TextPart(piece)
        yield thinking
        done = max(done, offset)
    if rest := (text[done:].strip() if done else text):
        yield TextPart(rest)


def _calls(calls: Iterable[ToolCall], extras: StoredExtras) -> Iterator[ModelResponsePart]:
    for call in calls:
        details = extras.call_details.get(call.provider_id)
        yield ToolCallPart(
            call.name,
            call.arguments,
            call.id,
            provider_name=extras.provider_name if details else None,
            provider_details=details,
        )
