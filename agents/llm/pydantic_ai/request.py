"""The messages of a request, for pydantic-ai."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequestPart,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.messages import (
    ModelRequest as VendorRequest,
)

from agents.llm.interface import ChatMessage, ModelRequest


def model_messages(request: ModelRequest) -> list[ModelMessage]:
    """The conversation; all messages between two answers become one.

    In a request without tools, earlier calls become text: Anthropic and Bedrock refuse calls in its history.
    """
    messages = request.messages if request.tools else _as_text(request.messages)
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    out: list[ModelMessage] = []
    request_parts: list[ModelRequestPart] = []
    for message in messages:
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


def _request_part(message: ChatMessage, names: dict[str, str]) -> ModelRequestPart:
    if message.role == "system":
        return SystemPromptPart(message.text)
    if message.role == "tool":
        call_id = message.tool_call_id or ""
        return ToolReturnPart(tool_name=names.get(call_id, "unknown"), content=message.text, tool_call_id=call_id)
    return UserPromptPart(message.text)


def _response(message: ChatMessage) -> ModelResponse:
    text = [TextPart(message.text)] if message.text else []
    calls = [ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls]
    return ModelResponse(parts=[*text, *calls])


def _as_text(messages: Iterable[ChatMessage]) -> list[ChatMessage]:
    out = []
    for message in messages:
        if message.role == "tool":
            out.append(ChatMessage("user", f"[The tool answered: {message.text}]"))
        elif message.tool_calls:
            calls = " ".join(f"[I called {call.name} with {call.arguments}.]" for call in message.tool_calls)
            out.append(ChatMessage(message.role, f"{message.text} {calls}".strip()))
        else:
            out.append(message)
    return out
