"""The bytes of a streamed answer, rendered once and kept: the provider must never be what a benchmark measures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson

from tests.provider.script import Script

End = Literal["close", "keep", "reset", "hold", "late"]
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Stream:
    """Frames of server-sent events; the first ones are due after the time to first token, the rest one by one."""

    frames: tuple[bytes, ...]
    tail: bytes
    end: End
    whole: bytes
    """Everything in HTTP chunks, for when nothing is to be waited for."""


def event(data: Any) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def chunk(model: str, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1700000000,
        "model": model,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def usage_of(script: Script) -> dict[str, int]:
    if script.usage == "wrong":
        return {"prompt_tokens": -11, "completion_tokens": -1, "total_tokens": -12}
    output = len(script.pieces())
    tokens = script.input_tokens
    return {"prompt_tokens": tokens, "completion_tokens": output, "total_tokens": tokens + output}


def framed(payload: bytes) -> bytes:
    """One chunk of HTTP/1.1's chunked transfer coding."""
    return b"%x\r\n%b\r\n" % (len(payload), payload)


@lru_cache(maxsize=512)
def _plain(model: str, tokens: int, fault: str, after: int, finish: str, usage: str) -> Stream:
    return _render(model, Script(tokens=tokens, fault=fault, after=after, finish=finish, usage=usage), True)


def stream_for(model: str, script: Script, include_usage: bool) -> Stream:
    is_plain = script.text is None and not script.calls and not script.reasoning
    if is_plain and script.input_tokens == Script.input_tokens:
        usage = script.usage if include_usage else "no"
        return _plain(model, script.tokens, script.fault, script.after, script.finish, usage)
    return _render(model, script, include_usage)


def _render(model: str, script: Script, include_usage: bool) -> Stream:
    deltas = list(_call_deltas(script)) if script.calls else [{"content": piece} for piece in script.pieces()]
    frames = [event(chunk(model, {"role": "assistant", "content": None if script.calls else ""}))]
    thoughts = [{"reasoning_content": piece} for piece in script.thoughts()]
    frames += [event(chunk(model, delta)) for delta in [*thoughts, *deltas]]
    finish = "length" if script.finish == "length" else "tool_calls" if script.calls else "stop"
    tail = event(chunk(model, {}, finish))
    if include_usage and script.usage != "no":
        counts = event({**chunk(model, {}), "choices": [], "usage": usage_of(script)})
        tail += counts
        if script.usage == "early":
            frames[0] += counts
    return whole_of(*_with_fault(model, script, frames, tail + DONE))


def whole_of(frames: list[bytes], tail: bytes, end: End) -> Stream:
    whole = b"".join(framed(frame) for frame in (*frames, tail) if frame) + (b"0\r\n\r\n" if end == "keep" else b"")
    return Stream(tuple(frames), tail, end, whole)


def cut_short(script: Script, frames: list[bytes], tail: bytes, *, named: bytes = b"") -> Stream:
    """A stream with one of the faults that look the same in every vendor's words. `named` begins each of its events."""
    begun = frames[: script.after + 1]
    match script.fault:
        case "cut":
            return whole_of(begun, b"", "close")
        case "reset_midway":
            return whole_of(begun, b"", "reset")
        case "silence":
            return whole_of(begun, b"", "hold")
        case "empty":
            return whole_of([], b"", "keep")
        case "badjson":
            return whole_of([*begun, named + b'data: {"x": [{"ind\n\n'], tail, "keep")
        case "endless_line":
            return whole_of([*begun, b"data: " + b"x" * 3_000_000], b"", "hold")
    return whole_of(frames, tail, "keep")


def _call_deltas(script: Script) -> list[dict[str, Any]]:
    """The calls in fragments, all of them interleaved, as providers may do."""
    heads, rows = [], []
    for index, (name, arguments) in enumerate(script.calls):
        text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
        function = {"name": name, "arguments": ""}
        heads.append(
            {
                "tool_calls": [
                    {
                        "index": index,
                        "id": "call_0" if script.ids == "one" else f"call_{index}",
                        "type": "function",
                        "function": function,
                    }
                ]
            }
        )
        step = max(1, len(text) // 3)
        rows.append([(index, text[start : start + step]) for start in range(0, len(text), step)])
    fragments = [row[turn] for turn in range(max(map(len, rows), default=0)) for row in rows if turn < len(row)]
    return heads + [{"tool_calls": [{"index": index, "function": {"arguments": text}}]} for index, text in fragments]


def _with_fault(model: str, script: Script, frames: list[bytes], tail: bytes) -> tuple[list[bytes], bytes, End]:
    begun = frames[: script.after + 1]
    match script.fault:
        case "cut":
            return begun, b"", "close"
        case "reset_midway":
            return begun, b"", "reset"
        case "silence":
            return begun, b"", "hold"
        case "mutter":
            # With a pace: words, and then only comments.
            return begun + [b": still here\n\n"] * 10_000, b"", "hold"
        case "empty":
            return [], b"", "keep"
        case "only_done":
            return [], DONE, "keep"
        case "no_done":
            return frames, tail.removesuffix(DONE), "keep"
        case "no_finish":
            return frames, DONE, "keep"
        case "badjson":
            return [*begun, b'data: {"id": "x", "choices": [{"ind\n\n'], tail, "keep"
        case "odd":
            return [*begun, b'data: ["not", "an", "object"]\n\n'], tail, "keep"
        case "invalid_utf8":
            return [*begun, b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n'], tail, "keep"
        case "filter":
            return begun, event(chunk(model, {}, "content_filter")) + DONE, "keep"
        case "refusal":
            return [frames[0], event(chunk(model, {"refusal": "I will not. "}))], tail, "keep"
        case "stream_error" | "stream_rate_limit" | "stream_ctx":
            return [*begun, event({"error": _STREAM_ERRORS[script.fault]})], b"", "keep"
        case "endless_line":
            return [*begun, b"data: " + b"x" * 3_000_000], b"", "hold"
        case "comments":
            noisy = [b": ping\n\n:\nid: 7\nretry: 10\nevent: message\n" + frame for frame in frames]
            return noisy, b": last\n\n" + tail, "keep"
        case "late_end":
            return frames, tail, "late"
        case "crlf":
            return [_lines(frame, b"\r\n") for frame in frames], _lines(tail, b"\r\n"), "keep"
        case "cr":
            return [_lines(frame, b"\r") for frame in frames], _lines(tail, b"\r"), "keep"
        case "multiline":
            return [_multiline(frame) for frame in frames], tail, "keep"
        case "no_last_newline":
            return frames, tail.rstrip(b"\n"), "keep"
        case "split_bytes":
            # Every byte travels alone; the server pauses between frames only if it is told to.
            return [bytes([byte]) for frame in (*frames, tail) for byte in frame], b"", "keep"
    return frames, tail, "keep"


_STREAM_ERRORS = {
    "stream_error": {"message": "The server had an error", "type": "server_error", "code": None},
    "stream_rate_limit": {"message": "Slow down", "type": "requests", "code": 429},
    "stream_ctx": {"message": "too long", "type": "invalid_request_error", "code": "context_length_exceeded"},
}


def _lines(data: bytes, ending: bytes) -> bytes:
    return data.replace(b"\n", ending)


def _multiline(frame: bytes) -> bytes:
    """The same event with its JSON spread over several data lines."""
    pretty = orjson.dumps(orjson.loads(frame.removeprefix(b"data: ")), option=orjson.OPT_INDENT_2)
    return b"".join(b"data:" + line + b"\n" for line in pretty.split(b"\n")) + b"\n"
