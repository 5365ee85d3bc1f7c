"""Our request in the words of the chat completions API."""

from __future__ import annotations

from typing import Any

import orjson

from agents.llm.errors import BadModelRequest
from agents.llm.port import ChatMessage, ModelRequest


def encode_request(request: ModelRequest, *, limit_field: str) -> bytes:
    """The JSON body. `limit_field` is what this server calls the limit of output tokens.

    Raises `BadModelRequest` for text that is no valid Unicode.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    if request.max_output_tokens is not None:
        body[limit_field] = request.max_output_tokens
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise BadModelRequest("The conversation cannot be written as JSON.") from None


def _message(message: ChatMessage) -> dict[str, Any]:
    if message.role == "tool":
        return {"role": "tool", "tool_call_id": message.tool_call_id, "content": message.text}
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": message.role, "content": message.text or None, "tool_calls": calls}
    return {"role": message.role, "content": message.text}
