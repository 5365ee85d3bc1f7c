"""From the errors of an OpenAI-compatible provider to our error classes, wherever they stand and however they are
written: in the body of a response, in a chunk of a stream, in a choice, as an object, a list or a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
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
from foundation.graphemes import cut_text
from foundation.storable_text import storable_text

_MAX_DETAIL = 300
_MAX_READ = 2_000
# Providers quote the key that they refuse, and proxies the machine behind them.
_SECRETS = re.compile(
    r"\bBearer\s+\S+|\b(?:sk|pk|key|org|proj)-[\w*.-]{4,}|[a-z][a-z0-9+.-]{0,20}://\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\b(?:gsk|hf|xai|nvapi|pplx)[_-]\w{6,}|\bAIza[\w-]{10,}|\bapi[_-]?key\s*[=:]\s*[^\s,;]+"
    r"|\b[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,5}\.(?:internal|local|localdomain|lan|corp|home|intranet|svc)\b"
    r"(?:\.[a-z0-9.-]+)?(?::\d+)?"
    r"|(?<=\bhost )\S+|(?<=\bdial tcp )\S+|(?:(?<=\blookup )|(?<=\bconnect to ))(?=\S*[.:])\S+|\blocalhost(?::\d+)?\b"
    r"|\[[0-9a-f]*:[0-9a-f:]+\](?::\d+)?"
    r"|\b[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,5}:\d{2,5}\b",
    re.IGNORECASE,
)
# Where servers write what kind of error it is, and what they say about it.
_CODE_FIELDS = ("code", "type", "status", "status_code", "error_code", "error_type", "errorCode", "http_code", "reason")
_WORD_FIELDS = ("message", "detail", "msg", "error_msg", "error_message", "error_description", "errorMessage", "error")
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True)
class _ErrorRule:
    """Errors of one class: by their codes (lower case, `_` for everything that is no letter or digit), or by words."""

    kind: type[ModelError]
    codes: frozenset[str]
    words: re.Pattern[str]


def _rule(kind: type[ModelError], codes: str, *words: str) -> _ErrorRule:
    return _ErrorRule(kind, frozenset(codes.split()), re.compile("|".join(words), re.IGNORECASE))


# The first rule whose codes match counts, else the first whose words do. Codes are more exact than words and statuses:
# an exceeded quota is no rate limit, a long prompt no bad request.
_RULES = (
    _rule(
        ModelAuthFailed,
        "insufficient_quota billing_hard_limit_reached billing_not_active account_deactivated insufficient_balance "
        "insufficient_credits insufficient_funds payment_required billing_error credit_limit_reached arrearage "
        "quota_exhausted exceeded_current_quota_error access_terminated",
        r"insufficient[ _](?:quota|balance|credits?|funds)|exceeded your current quota|credit balance is too low",
        r"(?:out of|not enough|no more|no) credits?\b|billing details|in arrears|account (?:is |was |has been )?"
        r"(?:deactivated|suspended|disabled)|payment required",
    ),
    _rule(
        ContextTooLong,
        "context_length_exceeded context_window_exceeded context_window_exceeded_error string_above_max_length "
        "request_too_large exceed_context_size exceed_context_size_error prompt_too_long input_too_long "
        "model_max_prompt_tokens_exceeded max_tokens_exceeded tokens_limit_reached context_limit_exceeded "
        "model_context_window_exceeded",
        r"context[ _-]?(?:window|length|size|limit)|maximum context",
        r"(?:prompt|input|request|conversation) (?:is|was) too (?:long|large)",
        r"too many (?:input |prompt )?tokens(?! per)|reduce the length|max_model_len|longer than the model|"
        r"(?:input|prompt)[\w ]{0,30} exceeds?[\w ]{0,30}(?:limit|max|length|tokens)|\bn_ctx\b|\bnum_ctx\b|"
        r"exceeds? the (?:model.?s )?(?:maximum|max) (?:input |prompt |context |number of )?(?:length|tokens)",
    ),
    _rule(
        ContentFiltered,
        "content_filter content_filtered content_policy_violation responsibleaipolicyviolation "
        "responsible_ai_policy_violation data_inspection_failed datainspectionfailed safety prohibited_content "
        "sensitive moderation_blocked content_moderation guardrail_intervened 1301",
        r"content (?:management )?polic|content.?filter|flagged (?:by|as|for)|inappropriate content|sensitive content",
        r"(?:blocked|rejected|refused) (?:by|due to|because of)[\w ']{0,40}"
        r"(?:polic|safety|filter|guardrail|moderation)",
    ),
    _rule(
        ModelRateLimited,
        "rate_limit_exceeded rate_limit_error rate_limit rate_limited rate_limit_reached too_many_requests "
        "toomanyrequests resource_exhausted throttled throttling throttling_exception tokens requests "
        "rate_limit_reached_error limit_requests limit_tokens 1302 1305",
        r"rate.?limit|too many requests|throttl|slow down|(?:requests|tokens) per (?:second|minute|hour|day)|"
        r"(?:retry|try again) (?:in|after) \d",
    ),
    _rule(
        ModelAuthFailed,
        "invalid_api_key authentication_error authentication_failed permission_error permission_denied "
        "unauthorized unauthenticated forbidden access_denied invalid_authentication invalid_authentication_error "
        "incorrect_api_key invalid_key",
        r"(?:invalid|incorrect|missing|wrong|expired|no) (?:api[ _-]?key|access token|credentials)|unauthori[sz]ed",
        r"api[ _-]?key (?:is |was )?(?:invalid|incorrect|missing|wrong|expired|required)|authentication failed",
        r"permission denied",
    ),
    _rule(
        TransientModelError,
        "overloaded overloaded_error server_error internal_error "
        "internal_server_error internalservererror api_error service_unavailable timeout timeout_error unavailable "
        "engine_overloaded engine_overloaded_error bad_gateway server_overloaded internal",
        r"overloaded|temporar|timed? ?out|unavailable|internal (?:server )?error|try again later",
    ),
    _rule(
        BadModelRequest,
        "invalid_request_error invalid_request model_not_found not_found not_found_error "
        "invalid_value invalid_argument badrequesterror bad_request bad_request_error unsupported_parameter "
        "unsupported_value unknown_parameter invalid_parameter missing_required_parameter notfounderror "
        "model_not_available no_such_model validation_error unprocessable_entity",
        r"model [\w '\"`:./-]{0,100}(?:does not exist|not found|is not available)|no such model|unknown model",
    ),
)
# Words may say more than these statuses do; with the others only a few words do.
_VAGUE_STATUSES = frozenset({None, 200, 400, 404, 422, 500, 503})
_BETTER_BY_WORDS = {(ModelRateLimited, ModelAuthFailed), (ModelAuthFailed, ContentFiltered)}


def error_from_response(status: int, headers: Mapping[str, str], body: bytes, *, secret: str | None) -> ModelError:
    """The error for a response that is not the requested stream. `body` may be incomplete or no JSON."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        payload = body[:_MAX_READ].decode("utf-8", "replace")
    error = find_error(payload)
    return error_from_payload(
        payload if error is None else error,
        status=status,
        retry_after=retry_after_seconds(headers),
        secret=secret,
    )


def find_error(payload: Any) -> Any | None:
    """What stands for the error in a body or chunk that is no answer: an object, a list or text; None without one."""
    if isinstance(payload, list):
        return next((error for item in payload if (error := find_error(item)) is not None), None)
    if not isinstance(payload, Mapping):
        return None
    if error := payload.get("error") or payload.get("errors"):
        # Some write `{"error": true, "message": …}`.
        return payload if isinstance(error, bool) else error
    is_error = payload.get("object") == "error" or "error" in str(payload.get("type") or "").lower()
    if is_error or payload.get("detail") or (payload.get("message") and any(map(payload.get, _CODE_FIELDS))):
        return payload
    return None


def error_from_payload(
    error: Any,
    *,
    status: int | None = None,
    retry_after: float | None = None,
    secret: str | None = None,
    message: str | None = None,
) -> ModelError:
    """The error for what `find_error` returned, inside a stream (then without a `status`) or in a response body.
    `message` is for users, None for that of its class."""
    codes, words = read_error(error)
    if status in (None, 200, 400, 500):
        # A proxy's status says less than the code of the server behind it.
        status = next((int(code) for code in codes if re.fullmatch("[45][0-9][0-9]", code)), status)
    kind = _kind(status, {re.sub(r"[^a-z0-9]+", "_", code.lower()).strip("_") for code in codes}, words[:_MAX_READ])
    return kind(
        message,
        retry_after_seconds=retry_after,
        provider_detail=clean_detail(words, secret),
        provider_code=clean_detail("/".join(code for code in codes if code != str(status))[:100], secret),
        status=status,
    )


def read_error(error: Any) -> tuple[list[str], str]:
    """The codes and the words of what `find_error` returned, as the provider wrote them: not cleaned of secrets."""
    codes = list(dict.fromkeys(code for part in _parts(error) for code in _codes(part)))
    words = "; ".join(dict.fromkeys(text for part in _parts(error) for text in _texts(part)))
    return codes, words


def _parts(error: Any, depth: int = 0) -> Iterator[Any]:
    """`error` and the errors inside of it, the outermost first."""
    if isinstance(error, str) and error[:1] == "{" and depth < _MAX_DEPTH:
        # A proxy passes on the body that it got, as text.
        with suppress(orjson.JSONDecodeError, UnicodeEncodeError):
            error = orjson.loads(error)
    if isinstance(error, list):
        for item in error[:10]:
            yield from _parts(item, depth + 1)
    elif isinstance(error, Mapping) and depth < _MAX_DEPTH:
        yield error
        inner = (error.get(name) for name in ("error", "message", "innererror", "metadata", "raw", "details", "detail"))
        for part in inner:
            if isinstance(part, Mapping | list) or (isinstance(part, str) and part[:1] == "{"):
                yield from _parts(part, depth + 1)
    elif isinstance(error, str):
        yield error


def _codes(part: Any) -> Iterator[str]:
    if isinstance(part, Mapping):
        for name in _CODE_FIELDS:
            if (code := part.get(name)) is not None and not isinstance(code, Mapping | list | bool):
                yield str(code)[:100]


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, Mapping):
        for name in _WORD_FIELDS:
            if isinstance(text := part.get(name), str) and text and text[:1] != "{":
                yield text


def _kind(status: int | None, codes: set[str], words: str) -> type[ModelError]:
    by_code = next((rule.kind for rule in _RULES if codes & rule.codes), None)
    by_words = _match(words)
    if by_code in (ModelAuthFailed, ContextTooLong, ContentFiltered):
        return by_code
    if status is not None and status not in _VAGUE_STATUSES:
        kind = error_for_status(status)
        return by_words if by_words and (kind, by_words) in _BETTER_BY_WORDS else kind
    if by_code is ModelRateLimited:
        return ModelAuthFailed if by_words is ModelAuthFailed else by_code
    if by_words in (ModelAuthFailed, ContextTooLong, ContentFiltered, ModelRateLimited):
        return by_words
    if status is None or status == 200:
        # Unknown errors inside a stream are failures of the provider, and worth a retry.
        return by_code or by_words or TransientModelError
    return error_for_status(status)


def _match(words: str) -> type[ModelError] | None:
    if _RULES[0].words.search(words) and _RULES[3].words.search(words):
        # "You exceeded your current quota … Please retry in 7 s" (Gemini's free tier) is a rate limit.
        return ModelRateLimited
    return next((rule.kind for rule in _RULES if rule.words.search(words)), None)


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
    return cut_text(storable_text(" ".join(_SECRETS.sub("[removed]", text[:_MAX_READ]).split())), _MAX_DETAIL)
