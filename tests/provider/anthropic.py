"""Anthropic's face: the Messages API, streamed."""

from __future__ import annotations

from typing import Any

import orjson

from tests.provider.chat import chat_messages
from tests.provider.refusals import refusal_of
from tests.provider.script import Script
from tests.provider.streams import Stream, cut_short, whole_of

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_OWN = {
    "ctx": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "ctx_words": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "quota": (400, "Your credit balance is too low to access the Anthropic API."),
    "filter_http": (400, "Output blocked by content filtering policy"),
}
_STREAM_ERRORS = {
    "stream_error": ("overloaded_error", "Overloaded"),
    "stream_rate_limit": ("rate_limit_error", "Slow down"),
    "stream_ctx": ("invalid_request_error", "prompt is too long: 1 tokens > 0 maximum"),
}


def as_chat(_path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The request as a chat completion that asks the same."""
    messages: list[dict[str, Any]] = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if results := [block for block in blocks if block["type"] == "tool_result"]:
            messages += [{"role": "tool", "content": str(block.get("content"))} for block in results]
            blocks = [block for block in blocks if block["type"] != "tool_result"]
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        calls = [block for block in blocks if block["type"] == "tool_use"]
        messages += chat_messages(message["role"], text, calls)
    choice, form = body.get("tool_choice") or {}, (body.get("output_config") or {}).get("format")
    return {
        "model": body["model"],
        "messages": messages,
        "tools": [{"function": {"name": tool["name"]}} for tool in body.get("tools") or ()],
        "tool_choice": "required" if choice.get("type") == "any" else None,
        "parallel_tool_calls": not choice.get("disable_parallel_tool_use"),
        "stop": body.get("stop_sequences"),
        "response_format": {"json_schema": {"schema": form["schema"]}} if form else None,
    }


def refusal(script: Script) -> tuple[int, dict[str, Any]] | None:
    if (refused := refusal_of(script.fault, _OWN)) is None:
        return None
    status, message = refused
    return status, {"type": "error", "error": {"type": _TYPES.get(status, "api_error"), "message": message}}


def stream(model: str, script: Script) -> Stream:
    pieces = () if script.calls and script.text is None else script.pieces()
    frames = [_event("message_start", message=_message(model, script)), *_thinking(script)]
    index = 1 if script.reasoning else 0
    if pieces:
        frames[-1] += _event("content_block_start", index=index, content_block={"type": "text", "text": ""})
        frames[-1] += _event("ping")
        frames += [
            _event("content_block_delta", index=index, delta={"type": "text_delta", "text": piece}) for piece in pieces
        ]
    tail = _event("content_block_stop", index=index) if pieces else b""
    for number, (name, arguments) in enumerate(script.calls, start=index + 1 if pieces else index):
        tail += _call(number, name, arguments)
    reason = {"stop": "tool_use" if script.calls else "end_turn", "length": "max_tokens"}.get(
        script.finish, script.finish
    )
    end = _end(reason, script) + _event("message_stop")
    if script.fault == "filter":
        end = _end("refusal", script) + _event("message_stop")
    elif script.fault == "no_finish":
        end = b""
    if script.fault in _STREAM_ERRORS:
        kind, message = _STREAM_ERRORS[script.fault]
        begun = [*frames[: script.after + 1], _event("error", error={"type": kind, "message": message})]
        return whole_of(begun, b"", "keep")
    return cut_short(script, frames, tail + end, named=b"event: content_block_delta\n")


def _thinking(script: Script) -> list[bytes]:
    """The frames of the reasoning, none without."""
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in script.thoughts()]
    if not deltas:
        return []
    deltas.append({"type": "signature_delta", "signature": "c2lnbmVk"})
    frames = [_event("content_block_delta", index=0, delta=delta) for delta in deltas]
    block = {"type": "thinking", "thinking": "", "signature": ""}
    frames[0] = _event("content_block_start", index=0, content_block=block) + frames[0]
    frames[-1] += _event("content_block_stop", index=0)
    return frames


def _event(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **fields}))


def _message(model: str, script: Script) -> dict[str, Any]:
    usage = (
        {"input_tokens": 11, "output_tokens": 1} if script.usage == "yes" else {"input_tokens": 0, "output_tokens": 0}
    )
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }


def _call(number: int, name: str, arguments: Any) -> bytes:
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    block = {"type": "tool_use", "id": f"toolu_{number}", "name": name, "input": {}}
    half = len(text) // 2
    pieces = [piece for piece in (text[:half], text[half:]) if piece]
    return (
        _event("content_block_start", index=number, content_block=block)
        + b"".join(
            _event("content_block_delta", index=number, delta={"type": "input_json_delta", "partial_json": piece})
            for piece in pieces
        )
        + _event("content_block_stop", index=number)
    )


def _end(reason: str, script: Script) -> bytes:
    usage: dict[str, Any] = {"output_tokens": len(script.pieces()) if script.usage == "yes" else 0}
    if script.reasoning_tokens:
        usage["output_tokens"] += script.reasoning_tokens
        usage["output_tokens_details"] = {"thinking_tokens": script.reasoning_tokens}
    return _event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)
