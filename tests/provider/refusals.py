"""Answers that are no stream: refusals by status, and broken or missing HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Answer:
    """A status with an error body, or raw bytes (empty: nothing at all)."""

    status: int = 0
    error: dict[str, Any] | None = None
    raw: bytes | None = None
    end: Literal["close", "keep", "reset", "hold"] = "keep"


def _error(status: int, message: str, kind: str, code: str | None = None) -> Answer:
    return Answer(status, {"message": message, "type": kind, "param": None, "code": code})


_HTML = b"<!doctype html><title>Welcome</title><p>This is not the API."

ANSWERS: dict[str, Answer] = {
    "400": _error(400, "Invalid value for 'temperature'.", "invalid_request_error", "invalid_value"),
    "401": _error(401, "Incorrect API key provided: sk-canary-0123456789.", "invalid_request_error", "invalid_api_key"),
    "402": _error(402, "Insufficient balance.", "billing"),
    "403": _error(403, "Your country is not supported.", "request_forbidden", "unsupported_country"),
    "404": _error(404, "The model `fake` does not exist.", "invalid_request_error", "model_not_found"),
    "408": _error(408, "Request timeout.", "timeout"),
    "409": _error(409, "Conflict.", "conflict"),
    "413": _error(413, "Request too large.", "invalid_request_error"),
    "422": _error(422, "Unprocessable.", "invalid_request_error"),
    "429": _error(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    "500": _error(500, "The server had an error at http://10.0.0.7:8000/internal.", "server_error"),
    "502": Answer(raw=b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>502\n\n"),
    "503": _error(503, "Overloaded.", "server_error"),
    "504": _error(504, "Gateway timeout.", "server_error"),
    "529": _error(529, "Overloaded.", "overloaded_error"),
    "quota": _error(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
    "ctx": _error(400, "too many", "invalid_request_error", "context_length_exceeded"),
    "ctx_words": _error(400, "This model's maximum context length is 4096 tokens.", "BadRequestError"),
    "filter_http": _error(400, "Filtered.", "invalid_request_error", "content_filter"),
    "redirect": Answer(
        raw=b"HTTP/1.1 307 Over there\r\nLocation: /v1/there/chat/completions\r\nContent-Length: 0\r\n\r\n"
    ),
    "hang": Answer(raw=b"", end="hold"),
    "stuck_headers": Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Ty", end="hold"),
    "stuck_body": Answer(
        raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", end="hold"
    ),
    "stuck_error": Answer(
        raw=b"HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{", end="hold"
    ),
    "close": Answer(raw=b"", end="close"),
    "reset": Answer(raw=b"", end="reset"),
    "garbage": Answer(raw=b"SSH-2.0-nothing\r\n\r\n", end="close"),
    "html": Answer(
        raw=b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(_HTML), _HTML)
    ),
    "json_error_200": _error(200, "No capacity.", "server_error"),
    "big_error": Answer(
        raw=b"HTTP/1.1 500 Oops\r\nContent-Type: text/plain\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 3_000_000
    ),
}

# What a flaky provider does, none of it slowly: another attempt, or another route, has an answer. Refusals of a
# credential are not among them: those hold for all routes of the provider, and for a while.
FLAKY = (
    "500", "502", "503", "529", "429", "404", "close", "reset", "garbage", "html", "json_error_200",
    "empty", "only_done", "cut", "reset_midway", "badjson", "stream_error", "stream_rate_limit",
)  # fmt: skip


def refusal_of(fault: str, own: Mapping[str, tuple[int, str]]) -> tuple[int, str] | None:
    """Status and message of a fault that is a refusal; `own` are those that a vendor words in its own way."""
    if fault in own:
        return own[fault]
    known = ANSWERS.get(fault)
    if known is None or known.error is None or known.status < 400:
        return None
    return known.status, known.error["message"]
