"""Maps errors to HTTP statuses and RFC 9457 problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import structlog
from django.core.exceptions import BadRequest, DisallowedHost, RequestDataTooBig, SuspiciousOperation
from django.http import HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase

from foundation import strict_json
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError, Malformed, OurFault, TooLarge, Unavailable
from foundation.ids import new_id
from foundation.problems import MEDIA_TYPE, problem, retry_after_header
from foundation.request_ids import current_request_id
from rest.errors import InvalidFields

_STATUS = {
    "malformed": 400,
    "unauthenticated": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "not_acceptable": 406,
    "conflict": 409,
    "precondition_failed": 412,
    "too_large": 413,
    "unsupported_media_type": 415,
    "invalid": 422,
    "precondition_required": 428,
    "rate_limited": 429,
    "unavailable": 503,
}

Response = TypeVar("Response", bound=HttpResponseBase)

log = structlog.get_logger(__name__)


def http_status(error: BandstandError) -> int:
    """The status of the error's code, or of the nearest ancestor that has one (`turn_in_progress` is a conflict)."""
    for kind in type(error).__mro__:
        if (status := _STATUS.get(getattr(kind, "code", ""))) is not None:
            return status
    return 500


def classify_error(
    error: Exception,
    *,
    actor: str | None,
    method: str,
    path: str,
    status: Callable[[BandstandError], int] = http_status,
) -> BandstandError | None:
    """Convert `error` to a `BandstandError`, or None for an internal error, and log it with its `status`."""
    classified = _classify(error)
    if classified is None:
        log.exception("request.failed", exc_info=error, actor=actor, method=method, path=path)
        return None
    rule = classified.context.get("rule", classified.code)
    actor = actor or classified.context.get("actor")
    log.warning("request.refused", rule=rule, status=status(classified), actor=actor, method=method, path=path)
    return classified


def problem_response(error: Exception, *, actor: str | None, method: str, path: str) -> HttpResponse:
    """The problem response to a request that raised `error`, which is logged."""
    classified = classify_error(error, actor=actor, method=method, path=path)
    body = serialize_problem(classified, request_id=str(current_request_id() or new_id()))
    headers = {"Cache-Control": "no-store"}
    if classified is not None and classified.retry_after_seconds is not None:
        headers["Retry-After"] = retry_after_header(classified.retry_after_seconds)
    if body["status"] == 401:
        headers["WWW-Authenticate"] = "Bearer"
    response = HttpResponse(strict_json.dumps(body), status=body["status"], content_type=MEDIA_TYPE, headers=headers)
    return mark_logged(response)


def mark_logged(response: Response) -> Response:
    """Mark a response as logged, so that Django does not log it again."""
    response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def serialize_problem(error: BandstandError | None, *, request_id: str) -> dict[str, Any]:
    """The body of a problem; with None, of an internal error."""
    if error is None:
        error = OurFault()
    return problem(
        http_status(error),
        code=error.code,
        detail=error.detail,
        request_id=request_id,
        errors=_faults(error),
        retry_after_seconds=error.retry_after_seconds,
        resets_at=error.context.get("resets_at"),
    )


def _classify(error: Exception) -> BandstandError | None:
    if isinstance(error, BandstandError):
        return error
    if isinstance(error, RequestDataTooBig):
        return TooLarge()
    if isinstance(error, DisallowedHost):
        return Malformed("This server does not answer to that host name.", rule="host")
    if isinstance(error, SuspiciousOperation | BadRequest | MultiPartParserError):
        return Malformed(rule=getattr(error, "rule", Malformed.code))
    if isinstance(error, DATABASE_FAULTS):
        # The database is unreachable, busy or too slow: the cause is only logged.
        log.error("database.lost", exc_info=error)
        return Unavailable(retry_after_seconds=1)
    return None


def _faults(error: BandstandError) -> list[dict[str, str]]:
    if isinstance(error, InvalidFields):
        return [{"pointer": pointer, "code": code, "detail": detail} for pointer, code, detail in error.faults]
    if error.pointer is not None:
        return [{"pointer": error.pointer, "code": error.code, "detail": error.detail}]
    return []
