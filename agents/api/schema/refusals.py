"""What a refusal looks like, and which ones there are."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from agents.api.problems import MEDIA_TYPE
from agents.api.schema.words import REQUEST_ID, TEXT, WHOLE, Schema, list_of, record, ref, said

# Status: code and detail of the example, and what to do about it.
USUAL: dict[int, tuple[str, str, str]] = {
    400: ("malformed", "The input cannot be read.", "The body is not JSON that can be read. Do not repeat it."),
    401: (
        "unauthenticated",
        "Credentials are missing, wrong or no longer valid.",
        "No key, or one that is wrong, expired or revoked.",
    ),
    403: ("forbidden", "This key lacks the scope 'chat'.", "Your role or your key's scopes do not allow this."),
    404: ("not_found", "There is no such thing here.", "It does not exist, or it is not yours: both look the same."),
    406: (
        "not_acceptable",
        "This address does not answer in a type that your Accept header allows.",
        "Accept names no type that this address answers in.",
    ),
    409: ("conflict", "The present state does not allow this.", "The present state does not allow this."),
    412: (
        "precondition_failed",
        "Somebody changed this since you read it.",
        "If-Match is not the present version: read it again, look, and try again.",
    ),
    413: ("too_large", "The input is too large.", "The body, or a part of it, is too large."),
    415: (
        "unsupported_media_type",
        "A body must be JSON in UTF-8: Content-Type application/json, without a Content-Encoding.",
        "The body is not declared as `application/json`.",
    ),
    422: (
        "invalid",
        "Some fields are not acceptable.",
        "Read, but not acceptable: `errors` names each field, parameter or header that is at fault.",
    ),
    428: (
        "precondition_required",
        "This change needs an If-Match header with the version you have read.",
        "If-Match is missing.",
    ),
    429: ("rate_limited", "Too many requests.", "Too much at once: wait `Retry-After` seconds and repeat."),
    500: ("internal", "Something went wrong on our side.", "Our fault; tell us the `instance`."),
    503: (
        "unavailable",
        "The service cannot answer just now; please try again.",
        "The service cannot answer just now (the database is away, or the process is ending): repeat.",
    ),
}

PROBLEM: Schema = record(
    {
        "type": said(TEXT, "Always `about:blank`: `code` says what happened."),
        "title": said(TEXT, "The status in words."),
        "status": WHOLE,
        "detail": said(TEXT, "What happened, for people."),
        "instance": said(TEXT, "`urn:uuid:` and the id of the request, as in X-Request-Id. Quote it to us."),
        "code": said(TEXT, "What happened, for programs: `docs/api.md` lists them."),
        "errors": list_of(ref("Fault")),
        "retry_after": {"type": "number", "minimum": 0, "description": "Seconds; also in the header Retry-After."},
    },
    optional=("retry_after",),
    description="Every refusal, as RFC 9457 has it (`application/problem+json`).",
)
FAULT: Schema = record(
    {
        "pointer": said(
            TEXT, "A JSON pointer into the body (`/input`), a parameter (`?limit`), a part of the path (`{turn_id}`) "
            "or the name of a header."
        ),
        "code": TEXT,
        "detail": TEXT,
    }
)  # fmt: skip
COMPONENTS = {"Problem": PROBLEM, "Fault": FAULT}


# On every answer.
COMMON_HEADERS = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "RateLimit", "RateLimit-Policy")
}


def example_of(status: int) -> dict[str, Any]:
    code, detail, _ = USUAL[status]
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": f"urn:uuid:{REQUEST_ID}",
        "code": code,
        "errors": [],
    }
    if status == 422:
        problem["errors"] = [{"pointer": "/agent", "code": "required", "detail": "This field is required."}]
    return problem | ({"retry_after": 2} if status in {429, 503} else {})


def refusal(status: int, *, description: str | None = None) -> dict[str, Any]:
    """The response object of a refusal."""
    headers = dict(COMMON_HEADERS)
    if status in {409, 429, 503}:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    return {
        "description": description or USUAL[status][2],
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": ref("Problem"), "example": example_of(status)}},
    }


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


RESPONSES = {_name(status): refusal(status) for status in USUAL}


def usual(status: int) -> dict[str, Any]:
    """The same by reference."""
    return {"$ref": f"#/components/responses/{_name(status)}"}
