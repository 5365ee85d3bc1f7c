"""Errors as RFC 9457 problems (`application/problem+json`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

MEDIA_TYPE = "application/problem+json"

# Python 3.13 adopted the newer names of RFC 9110. The wire and the schema keep these, on any version.
_PHRASES: Final = {
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
}


def status_phrase(status: int) -> str:
    """The name of an HTTP status. Raises `ValueError` for an unknown number."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    request_id: UUID | str,
    errors: Sequence[dict[str, str]] = (),
    retry_after_seconds: float | None = None,
    resets_at: datetime | None = None,
) -> dict[str, Any]:
    """The body of a problem. `detail` is for people and contains nothing internal; `code` is for programs."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": status_phrase(status),
        "status": status,
        "detail": detail,
        "instance": f"urn:uuid:{request_id}",
        "code": code,
        "errors": list(errors),
    }
    if retry_after_seconds is not None:
        body["retry_after"] = retry_after_seconds
    if resets_at is not None:
        body["resets_at"] = resets_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return body


def retry_after_header(seconds: float) -> str:
    """The value of the Retry-After header: `seconds`, rounded up."""
    return str(math.ceil(seconds))
