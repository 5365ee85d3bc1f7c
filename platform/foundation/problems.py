"""RFC 9457: an error as a problem, for every program that reads JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

MEDIA_TYPE = "application/problem+json"

# Python 3.13 took the newer names of RFC 9110 for these. Ours are on the wire and in the schema, whatever runs us.
_PHRASES: Final = {
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
}


def status_phrase(status: int) -> str:
    """The name of an HTTP status. Raises `ValueError` for a number that is none."""
    return _PHRASES.get(status) or HTTPStatus(status).phrase


def problem(
    status: int,
    *,
    code: str,
    detail: str,
    request_id: UUID | str,
    errors: Sequence[dict[str, str]] = (),
    retry_after_seconds: float | None = None,
) -> dict[str, Any]:
    """The body. `detail` is for people and tells nothing internal; `code` is for programs."""
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
    return body


def retry_after_header(seconds: float) -> str:
    """The value of the header: whole seconds, and not too early."""
    return str(math.ceil(seconds))
