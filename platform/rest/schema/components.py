"""Common components of the schema: errors, headers, security schemes."""

from __future__ import annotations

from typing import Any, Final

from rest.schema import errors
from rest.schema.json_schema import REQUEST_ID, TEXT

COMPONENTS: Final[dict[str, Any]] = {
    "schemas": errors.COMPONENTS,
    "responses": errors.RESPONSES,
    "headers": {
        "X-Request-Id": {
            "description": "The id of this request in our log. Quote it when you ask us.",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
            "example": REQUEST_ID,
        },
        "RateLimit": {
            "description": "What is left, by policy: `r` requests, and all are back in `t` seconds.",
            "schema": TEXT,
            "example": '"requests";r=2999;t=1',
        },
        "RateLimit-Policy": {
            "description": "The limits that hold for you: `q` requests in `w` seconds.",
            "schema": TEXT,
            "example": '"requests";q=3000;w=60',
        },
        "Retry-After": {
            "description": "Seconds to wait before a repeat.",
            "schema": {"type": "string", "pattern": "^[0-9]+$"},
            "example": "2",
        },
        "WWW-Authenticate": {"description": "Always `Bearer`.", "required": True, "schema": TEXT, "example": "Bearer"},
    },
    "securitySchemes": {
        "key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer bs_…`."},
        "key_header": {
            "type": "apiKey",
            "in": "header",
            "name": "X-Api-Key",
            "description": "An API key, for clients that cannot set Authorization.",
        },
    },
}
