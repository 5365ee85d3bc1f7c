"""From the error responses of an OpenAI-compatible provider to our error classes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from agents.llm.errors import (
    BadModelRequest,
    ContentFiltered,
    ContextTooLong,
    ModelAuthFailed,
    ModelError,
    ModelRateLimited,
    TransientModelError,
    clamp_retry_after,
    error_for_status,
)
from foundation.storable_text import storable_text

_MAX_DETAIL = 300
_MAX_READ = 2_000
# Providers quote the key that they refuse, and proxies the machine behind them.
_SECRETS = re.compile(
    r"\bBearer\s+\S+|\b(?:sk|pk|key|org|proj)-[\w*.-]{4,}|[a-z][a-z0-9+.-]*://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\bhost \S+",
    re.IGNORECASE,
)
_QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"})
_TOO_LONG = frozenset(
    {"context_length_exceeded", "string_above_max_length", "request_too_large", "exceed_context_size"}
)
_FILTERED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_LIMITED = frozenset({"rate_limit_exceeded", "rate_limit_error", "rate_limit", "tokens", "requests"})
_AUTH = frozenset({"invalid_api_key", "authentication_error", "permission_error", "unauthorized"})
_BAD = frozenset({"invalid_request_error", "model_not_found", "not_found_error", "invalid_value", "BadRequestError"})
_TOO_LONG_WORDS = re.compile(
    r"maximum context length|context (?:window|length|size)|prompt is too long|too many (?:input )?tokens",
    re.IGNORECASE,
)


def error_from_response(status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None) -> ModelError:
    """The error for a response that is not the requested stream. `body` may be incomplete or no JSON."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = None
    retry_after = retry_after_seconds(headers)
    if isinstance(payload, dict) and "error" in payload:
        return error_from_exception(payload["error"], status=status, retry_after=retry_after, secret=secret)
    text = body[:_MAX_DETAIL].decode("utf-8", "replace")
    kind = _kind(status, frozenset(), text)
    return kind(
        retry_after_seconds=retry_after, provider_detail=clean_detail(f"HTTP {status}: {text}", secret), status=status
    )


def error_from_exception(
    error: Any, *, status: int | None = None, retry_after: float | None = None, secret: str | None = None
) -> ModelError:
    """The error for an error object, inside a stream (then without a status) or in a response body."""
    fields = error if isinstance(error, dict) else {"message": error}
    code = fields.get("code")
    if isinstance(code, int) and status in (None, 200):
        status = code
    codes = frozenset(str(fields[name]) for name in ("code", "type") if fields.get(name) is not None)
    message = str(fields.get("message") or "")
    detail = clean_detail(f"HTTP {status or 200}, {'/'.join(sorted(codes)) or 'no code'}: {message}", secret)
    return _kind(status, codes, message)(retry_after_seconds=retry_after, provider_detail=detail, status=status)


def _kind(status: int | None, codes: frozenset[str], message: str) -> type[ModelError]:
    """Codes are more exact than statuses: an exceeded quota is no rate limit, a long prompt no bad request."""
    by_code: tuple[tuple[frozenset[str], type[ModelError]], ...] = (
        (_QUOTA, ModelAuthFailed),
        (_TOO_LONG, ContextTooLong),
        (_FILTERED, ContentFiltered),
    )
    for known_codes, kind in by_code:
        if codes & known_codes:
            return kind
    if status in (None, 200):
        # Inside a stream there is no status; unknown codes are failures of the provider, and worth a retry.
        for known_codes, kind in ((_LIMITED, ModelRateLimited), (_AUTH, ModelAuthFailed), (_BAD, BadModelRequest)):
            if codes & known_codes:
                return kind
        return TransientModelError
    if status in (400, 422, 500) and _TOO_LONG_WORDS.search(message):
        return ContextTooLong
    return error_for_status(status)


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """The seconds that the provider asks us to wait, from a header in seconds, milliseconds or as a date; None without
    a readable one."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            seconds = float(milliseconds) / 1000
        elif (text := headers.get("Retry-After")) is None:
            return None
        elif text.strip()[:1].isdigit():
            seconds = float(text)
        else:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None
    return clamp_retry_after(seconds)


def clean_detail(text: str, secret: str | None = None) -> str:
    """A provider's message for operators: on one line, at most 300 characters, without keys and addresses."""
    if secret:
        text = text.replace(secret, "[secret]")
    # Cut first: an error page of megabytes would keep the pattern busy for hours.
    return storable_text(" ".join(_SECRETS.sub("[removed]", text[:_MAX_READ]).split()))[:_MAX_DETAIL]
