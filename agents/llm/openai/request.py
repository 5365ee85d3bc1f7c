"""Encode a request for the chat completions API."""

from __future__ import annotations

from typing import Any

import orjson

from agents.llm.dialects import Dialect
from agents.llm.errors import BadModelRequest
from agents.llm.interface import JsonFormat, ModelRequest, ToolSpec
from agents.llm.openai.messages import encode_messages


def encode_request(request: ModelRequest, *, dialect: Dialect) -> bytes:
    """The JSON body, as a server of `dialect` takes it.

    Raises `BadModelRequest` for text that is no valid Unicode.
    """
    body: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(request, dialect),
        "stream": True,
    }
    if dialect.stream_usage:
        body["stream_options"] = {"include_usage": True}
    if request.tools:
        body["tools"] = [_tool(tool, is_strict=tool.strict and dialect.strict_tools) for tool in request.tools]
        if request.must_call and dialect.forces_calls:
            body["tool_choice"] = "required"
        if request.one_call and dialect.parallel_calls:
            body["parallel_tool_calls"] = False
    if request.max_output_tokens is not None and dialect.limit_field is not None:
        body[dialect.limit_field] = request.max_output_tokens
    if request.stop:
        body["stop"] = request.stop
    if request.json is not None:
        body["response_format"] = _format(request.json)
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:
        raise BadModelRequest("The conversation cannot be written as JSON.") from None


def _tool(tool: ToolSpec, *, is_strict: bool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {**function, "strict": True} if is_strict else function}


def _format(json: JsonFormat) -> dict[str, Any]:
    if json.schema is None:
        return {"type": "json_object"}
    json_schema = {"name": json.name, "schema": json.schema}
    if json.description:
        json_schema["description"] = json.description
    return {"type": "json_schema", "json_schema": {**json_schema, "strict": True} if json.strict else json_schema}
