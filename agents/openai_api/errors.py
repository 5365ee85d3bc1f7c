"""Errors in OpenAI's format, `{"error": {"message", "type", "code", "param"}}`, with `X-Should-Retry`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.http import HttpResponse
from django.urls import reverse

from agents.domain.approvals import Decider, Decision
from agents.domain.failures import ErrorClass, parse_error_class
from agents.domain.states import TurnStatus
from agents.sessions import CompletionResult
from agents.sessions.errors import BudgetExhausted, HandedOff
from foundation import strict_json
from foundation.clock import now
from foundation.errors import BandstandError, Conflict, InvalidInput, Unavailable
from foundation.problems import retry_after_header
from rest.errors import InvalidFields
from rest.problem_responses import classify_error, http_status, mark_logged


class ContextLengthExceeded(InvalidInput):
    """The request is longer than one may be. Clients know this code, and send a shorter conversation."""

    code = ErrorClass.CONTEXT_LENGTH.code


class MessageHandedOff(HandedOff):
    """A person answers in this session now. Your message is stored and was shown to them; the answer comes there."""


class ApprovalRequired(Conflict):
    """A tool waits for somebody's approval. The turn goes on when it is given; its answer will be in the session."""

    code = "approval_required"

    def __init__(self, approvals: Sequence[Mapping[str, Any]] = ()) -> None:
        """`approvals` as in `CompletionResult`."""
        self.approvals = [{**approval, "path": _decision_path(approval)} for approval in approvals]
        super().__init__("\n".join([str(type(self).__doc__), *map(_describe_approval, self.approvals)]))


class AnswerRestarted(Unavailable):
    """The answer was begun again after a part of it was sent. The turn goes on; its answer will be in the session."""

    code = "answer_restarted"
    retryable = False


class CompletionFailed(BandstandError):
    """The turn ended without an answer."""

    code = "turn_failed"

    def __init__(self, result: CompletionResult) -> None:
        error = result.error or {}
        reason = str(error.get("error_class") or _DEFAULT_CLASSES.get(result.status, result.status))
        error_class = parse_error_class(reason)
        self.status = error_class.failure.status if error_class else 500
        self.own_code = error_class.code if error_class else reason
        detail = error.get("detail") or (error_class.failure.user_message if error_class else None)
        error_id = error.get("error_id")
        super().__init__(
            f"{detail} (error {error_id})" if error_id else detail,
            retry_after_seconds=_seconds_until(error.get("retry_at")),
        )


def _seconds_until(moment: str | None) -> float | None:
    return None if moment is None else max(1.0, (datetime.fromisoformat(moment) - now()).total_seconds())


def _decision_path(approval: Mapping[str, Any]) -> str:
    return f"{reverse('api:turn', args=[approval['turn']])}/approvals/{approval['approval']}"


def _describe_approval(approval: Mapping[str, Any]) -> str:
    if approval["who"] != Decider.USER:
        return f"{approval['tool']}: an operator decides."
    decisions = " or ".join(f'{{"decision": "{decision}"}}' for decision in Decision)
    return f"{approval['tool']}: POST {decisions} to {approval['path']}"


# The error class of turns that ended in one of these states without an error.
_DEFAULT_CLASSES = {TurnStatus.CANCELLED: ErrorClass.CANCELLED, TurnStatus.EXPIRED: ErrorClass.DEADLINE}


def no_answer(result: CompletionResult) -> BandstandError:
    """The error of a turn that ended without an answer."""
    return MessageHandedOff() if result.handed_off else CompletionFailed(result)


# As OpenAI has them.
_CODES = {"unauthenticated": "invalid_api_key", BudgetExhausted.code: ErrorClass.BUDGET_EXCEEDED.code}
_TYPES = {401: "authentication_error", 403: "permission_error", 409: "conflict_error", 429: "rate_limit_error"}
_INDEX = re.compile(r"/([0-9]+)(?=/|$)")


def openai_error_response(error: Exception, *, actor: str | None, method: str, path: str) -> HttpResponse:
    """The response for `error`, which is logged here."""
    classified = (
        error
        if isinstance(error, CompletionFailed)
        else classify_error(error, actor=actor, method=method, path=path, status=_status)
    )
    status = _status(classified)
    # A refused request stored nothing, and a stored one is recognised: a retry is always safe, if seldom useful.
    should_retry = classified is None or classified.retryable
    headers = {"Cache-Control": "no-store", "X-Should-Retry": "true" if should_retry else "false"}
    if classified is not None and classified.retry_after_seconds is not None:
        headers["Retry-After"] = retry_after_header(classified.retry_after_seconds)
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    body = strict_json.dumps(openai_error_body(classified))
    return mark_logged(HttpResponse(body, status=status, content_type="application/json", headers=headers))


def openai_error_body(error: BandstandError | None) -> dict[str, Any]:
    """The body for `error`; None means an internal error."""
    if error is None:
        return _shape("Something went wrong on our side.", 500, "internal", None)
    message, pointer = error.detail, error.pointer
    if isinstance(error, InvalidFields) and error.faults:
        pointer, _, message = error.faults[0]
    code = error.own_code if isinstance(error, CompletionFailed) else error.code
    more = {"approvals": error.approvals} if isinstance(error, ApprovalRequired) else {}
    code = _CODES.get(code, code)
    return _shape(message, _status(error), code, _param(pointer), **more)


def _shape(message: str, status: int, code: str, param: str | None, **more: Any) -> dict[str, Any]:
    if code == ErrorClass.BUDGET_EXCEEDED.code:
        kind = code  # OpenAI's type, too
    else:
        kind = _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return {"error": {"message": message, "type": kind, "code": code, "param": param, **more}}


def _status(error: BandstandError | None) -> int:
    if error is None:
        return 500
    if isinstance(error, CompletionFailed):
        return error.status
    status = http_status(error)
    # OpenAI's clients expect 400 for invalid input.
    return 400 if status == 422 else status


def _param(pointer: str | None) -> str | None:
    """`/messages/3/content` as `messages[3].content`; other names (a header, a query parameter) unchanged."""
    if not pointer:
        return None
    if not pointer.startswith("/"):
        return pointer.strip("{}")
    return _INDEX.sub(r"[\1]", pointer)[1:].replace("/", ".").replace("~1", "/").replace("~0", "~")
