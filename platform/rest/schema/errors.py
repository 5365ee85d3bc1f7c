"""The error responses of the schema."""

from __future__ import annotations

from typing import Any

from foundation.errors import (
    BandstandError,
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    RateLimited,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from foundation.problems import MEDIA_TYPE, status_phrase
from rest.errors import InvalidFields, NotAcceptable, UnsupportedMediaType
from rest.problem_responses import serialize_problem
from rest.schema.json_schema import MOMENT, REQUEST_ID, TEXT, WHOLE, Schema, array, described, record, ref

# By status: an example error (None: internal error) and its description.
COMMON_ERRORS: dict[int, tuple[BandstandError | None, str]] = {
    400: (Malformed(), "The body is not JSON that can be read. Do not repeat it."),
    401: (Unauthenticated(), "No key, or one that is wrong, expired or revoked."),
    403: (Forbidden("This key lacks the scope 'chat'."), "Your role or your key's scopes do not allow this."),
    404: (NotFound(), "It does not exist, or it is not yours: both look the same."),
    406: (NotAcceptable(), "Accept names no type that this address answers in."),
    409: (Conflict(), "The present state does not allow this."),
    412: (PreconditionFailed(), "If-Match is not the present version: read it again, look, and try again."),
    413: (TooLarge(), "The body, or a part of it, is too large."),
    415: (UnsupportedMediaType(), "The body is not declared as `application/json`."),
    422: (
        InvalidFields([("/agent", "required", "This field is required.")]),
        "Read, but not acceptable: `errors` names each field, parameter or header that is at fault.",
    ),
    428: (PreconditionRequired(), "If-Match is missing."),
    429: (RateLimited(retry_after_seconds=2), "Too much at once: wait `Retry-After` seconds and repeat."),
    500: (None, "Our fault; tell us the `instance`."),
    503: (
        Unavailable(retry_after_seconds=2),
        "The service cannot answer just now (the database is away, or the process is ending): repeat.",
    ),
}

PROBLEM: Schema = record(
    {
        "type": described(TEXT, "Always `about:blank`: `code` says what happened."),
        "title": described(TEXT, "The status in words."),
        "status": WHOLE,
        "detail": described(TEXT, "What happened, for people."),
        "instance": described(TEXT, "`urn:uuid:` and the id of the request, as in X-Request-Id. Quote it to us."),
        "code": described(TEXT, "What happened, for programs: `docs/api.md` lists them."),
        "errors": array(ref("Fault")),
        "retry_after": {"type": "number", "minimum": 0, "description": "Seconds; also in the header Retry-After."},
        "resets_at": described(MOMENT, "Of a budget that is used up: when it begins anew."),
    },
    optional=("retry_after", "resets_at"),
    description="Every refusal, as RFC 9457 has it (`application/problem+json`).",
)
FAULT: Schema = record(
    {
        "pointer": described(
            TEXT, "A JSON pointer into the body (`/input`), a parameter (`?limit`), a part of the path (`{turn_id}`) "
            "or the name of a header."
        ),
        "code": TEXT,
        "detail": TEXT,
    }
)  # fmt: skip
COMPONENTS = {"Problem": PROBLEM, "Fault": FAULT}


# Of every response.
COMMON_HEADERS = {
    name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", "RateLimit", "RateLimit-Policy")
}


def error_response(status: int, *, description: str | None = None) -> dict[str, Any]:
    """The response object of an error status."""
    headers = dict(COMMON_HEADERS)
    if status in {409, 429, 503}:
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    error, default_description = COMMON_ERRORS[status]
    example = serialize_problem(error, request_id=REQUEST_ID)
    return {
        "description": description or default_description,
        "headers": headers,
        "content": {MEDIA_TYPE: {"schema": ref("Problem"), "example": example}},
    }


def any_error_response(component: str) -> dict[str, Any]:
    """The response object of all errors that have the shape of a component."""
    headers = {**COMMON_HEADERS, "Retry-After": {"$ref": "#/components/headers/Retry-After"}}
    return {
        "description": "Any refusal.",
        "headers": headers,
        "content": {"application/json": {"schema": ref(component)}},
    }


def _name(status: int) -> str:
    return status_phrase(status).title().replace(" ", "").replace("-", "")


RESPONSES = {_name(status): error_response(status) for status in COMMON_ERRORS}


def common_error_response(status: int) -> dict[str, Any]:
    """The refusal with this status as a reference to its component."""
    return {"$ref": f"#/components/responses/{_name(status)}"}
