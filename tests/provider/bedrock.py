"""Amazon Bedrock's face: the Converse API, streamed in AWS's binary frames."""

from __future__ import annotations

import struct
import zlib
from typing import Any
from urllib.parse import unquote

import orjson

from tests.provider.chat import chat_messages
from tests.provider.refusals import refusal_of
from tests.provider.script import Script
from tests.provider.streams import Stream, cut_short, whole_of

_TYPES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_OWN = {
    "ctx": (400, "Input is too long for requested model."),
    "ctx_words": (400, "Input is too long for requested model."),
    "quota": (402, "ServiceQuotaExceededException"),
    "filter_http": (400, "The request was blocked by content filters."),
}
_STREAM_ERRORS = {
    "stream_error": ("internalServerException", "Oops"),
    "stream_rate_limit": ("throttlingException", "Slow down"),
    "stream_ctx": ("validationException", "Input is too long for requested model."),
}


def as_chat(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The request as a chat completion that asks the same."""
    messages: list[dict[str, Any]] = []
    for message in body["messages"]:
        blocks = message["content"]
        messages += [{"role": "tool", "content": ""} for block in blocks if "toolResult" in block]
        text = "".join(block.get("text", "") for block in blocks)
        calls = [block for block in blocks if "toolUse" in block]
        messages += chat_messages(message["role"], text, calls)
    tools, form = body.get("toolConfig") or {}, (body.get("outputConfig") or {}).get("textFormat")
    return {
        "model": unquote(path.split("/")[-2]),
        "messages": messages,
        "tools": [{"function": {"name": tool["toolSpec"]["name"]}} for tool in tools.get("tools") or ()],
        "tool_choice": "required" if "any" in (tools.get("toolChoice") or {}) else None,
        "stop": (body.get("inferenceConfig") or {}).get("stopSequences"),
        "response_format": {"json_schema": {"schema": orjson.loads(form["structure"]["jsonSchema"]["schema"])}}
        if form
        else None,
    }


def refusal(script: Script) -> tuple[int, dict[str, Any]] | None:
    if (refused := refusal_of(script.fault, _OWN)) is None:
        return None
    status, message = refused
    return status, {"message": message, "__type": _TYPES.get(status, "InternalServerException")}


def stream(_model: str, script: Script) -> Stream:
    pieces = () if script.calls and script.text is None else script.pieces()
    frames = [_event("messageStart", role="assistant")]
    frames += [_event("contentBlockDelta", contentBlockIndex=0, delta={"text": piece}) for piece in pieces]
    tail = _event("contentBlockStop", contentBlockIndex=0) if pieces else b""
    for number, (name, arguments) in enumerate(script.calls, start=1 if pieces else 0):
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        tail += _event(
            "contentBlockStart", contentBlockIndex=number, start={"toolUse": {"toolUseId": f"t_{number}", "name": name}}
        )
        if text:
            tail += _event("contentBlockDelta", contentBlockIndex=number, delta={"toolUse": {"input": text}})
        tail += _event("contentBlockStop", contentBlockIndex=number)
    reason = {"stop": "tool_use" if script.calls else "end_turn", "length": "max_tokens"}.get(
        script.finish, script.finish
    )
    if script.fault == "filter":
        reason = "content_filtered"
    end = b"" if script.fault == "no_finish" else _event("messageStop", stopReason=reason)
    if script.usage == "yes" and script.fault != "no_finish":
        usage = {"inputTokens": 11, "outputTokens": len(script.pieces()), "totalTokens": 11}
        end += _event("metadata", usage=usage, metrics={"latencyMs": 1})
    if script.fault in _STREAM_ERRORS:
        kind, message = _STREAM_ERRORS[script.fault]
        begun = [
            *frames[: script.after + 1],
            _frame({":message-type": "exception", ":exception-type": kind}, {"message": message}),
        ]
        return whole_of(begun, b"", "keep")
    return cut_short(script, frames, tail + end)


def _event(kind: str, **fields: Any) -> bytes:
    return _frame({":message-type": "event", ":event-type": kind}, fields)


def _frame(names: dict[str, str], payload: dict[str, Any]) -> bytes:
    """Two lengths and their checksum, headers, JSON, and a checksum over it all."""
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in {**names, ":content-type": "application/json"}.items()
    )
    body = orjson.dumps(payload)
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    prelude += struct.pack("!I", zlib.crc32(prelude))
    return prelude + headers + body + struct.pack("!I", zlib.crc32(prelude + headers + body))
