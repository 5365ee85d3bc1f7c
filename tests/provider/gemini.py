"""Google's face: Gemini's generateContent, streamed."""

from __future__ import annotations

from typing import Any

from tests.provider.chat import chat_messages
from tests.provider.refusals import refusal_of
from tests.provider.script import Script
from tests.provider.streams import Stream, cut_short, event, whole_of

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."
_OWN = {"ctx": (400, _TOO_LONG), "ctx_words": (400, _TOO_LONG)}
_DAILY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
_STREAM_ERRORS = {"stream_error": 503, "stream_rate_limit": 429, "stream_ctx": 400}


def as_chat(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The request as a chat completion that asks the same."""
    messages: list[dict[str, Any]] = []
    for content in body["contents"]:
        parts = content["parts"]
        text = "".join(part.get("text", "") for part in parts)
        calls = [part for part in parts if "functionCall" in part]
        messages += [{"role": "tool", "content": ""} for part in parts if "functionResponse" in part]
        role = "assistant" if content.get("role") == "model" else "user"
        messages += chat_messages(role, text, calls)
    settings = body.get("generationConfig") or {}
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    is_json = settings.get("responseMimeType") == "application/json"
    return {
        "model": path.rpartition("/")[2].removesuffix(":streamGenerateContent"),
        "messages": messages,
        "tools": [
            {"function": {"name": function["name"]}}
            for tool in body.get("tools") or ()
            for function in tool["functionDeclarations"]
        ],
        "tool_choice": "required" if calling.get("mode") == "ANY" else None,
        "stop": settings.get("stopSequences"),
        "response_format": {"json_schema": {"schema": settings.get("responseJsonSchema")}} if is_json else None,
    }


def refusal(script: Script) -> tuple[int, dict[str, Any]] | None:
    if script.fault == "filter_http" or (refused := refusal_of(script.fault, _OWN)) is None:
        return None
    status, message = refused
    return status, _error(status, message, *([_DAILY] if script.fault == "quota" else []))


def stream(model: str, script: Script) -> Stream:
    if script.fault == "filter_http":
        return whole_of([event({"promptFeedback": {"blockReason": "SAFETY"}, "modelVersion": model})], b"", "keep")
    frames = (
        [] if script.calls and script.text is None else [_chunk(model, {"text": piece}) for piece in script.pieces()]
    )
    # Nothing tells the beginning of a stream but its first words: an empty line stands for it.
    frames.insert(0, b"\n")
    calls = [_chunk(model, {"functionCall": {"name": name, "args": arguments}}) for name, arguments in script.calls]
    reason = "MAX_TOKENS" if script.finish == "length" else "STOP"
    if script.fault == "filter":
        reason = "SAFETY"
    usage = {"promptTokenCount": 11, "candidatesTokenCount": len(script.pieces()), "totalTokenCount": 11}
    if script.reasoning_tokens:
        usage["thoughtsTokenCount"] = script.reasoning_tokens
    end = {"candidates": [{"index": 0, "content": {"role": "model", "parts": []}, "finishReason": reason}]}
    tail = event({**end, "modelVersion": model, **({"usageMetadata": usage} if script.usage == "yes" else {})})
    if script.fault == "no_finish":
        tail = b""
    if script.fault in _STREAM_ERRORS:
        status = _STREAM_ERRORS[script.fault]
        message = _TOO_LONG if status == 400 else "Not now."
        return whole_of([*frames[: script.after + 1], event(_error(status, message))], b"", "keep")
    return cut_short(script, frames, b"".join(calls) + tail)


def _chunk(model: str, part: dict[str, Any]) -> bytes:
    return event({"candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}], "modelVersion": model})


def _error(status: int, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    error = {"code": status, "message": message, "status": _STATUSES.get(status, "UNKNOWN"), "details": list(details)}
    return {"error": error}
