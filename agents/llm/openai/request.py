"""Encode a request for the chat completions API."""

from __future__ import annotations

from typing import Any

import orjson

from agents.llm.dialects import Dialect
from agents.llm.errors import BadModelRequest
from agents.llm.interface import ChatMessage, JsonFormat, ModelRequest, ToolSpec


def encode_request(request: ModelRequest, *, dialect: Dialect) -> bytes:
    """The JSON body, in the dialect of its server.

    Raises `BadModelRequest` for text that is no valid Unicode.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(message) for message in request.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
        if request.must_call:
            body["tool_choice"] = "required"
        if request.one_call:
            body["parallel_tool_calls"] = False
    if request.max_output_tokens is not None:
        body[dialect.limit_field or "max_tokens"] = request.max_output_tokens
    if request.stop:
        body["stop"] = request.stop
    if request.json is not None:
        body["response_format"] = _format(request.json)
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise BadModelRequest("The conversation cannot be written as JSON.") from None


def _tool(tool: ToolSpec) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {**function, "strict": True} if tool.strict else function}


def _format(json: JsonFormat) -> dict[str, Any]:
    if json.schema is None:
        return {"type": "json_object"}
    json_schema = {"name": json.name, "schema": json.schema}
    if json.description:
        json_schema["description"] = json.description
    return {"type": "json_schema", "json_schema": {**json_schema, "strict": True} if json.strict else json_schema}


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
