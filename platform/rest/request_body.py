"""Reads JSON bodies."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from django.http import HttpRequest

from foundation import strict_json
from rest.errors import UnsupportedMediaType


def read_body(
    request: HttpRequest, *, may_be_empty: bool = False, max_bytes: int = strict_json.MAX_BYTES
) -> dict[str, Any]:
    """The JSON object in the body; {} for an empty body if `may_be_empty`.

    Raises `UnsupportedMediaType`, `TooLarge`, `Malformed`, and `InvalidInput` for text that cannot be stored."""
    # Django joins headers of one name by commas: two of them are no "identity" either.
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise UnsupportedMediaType
    raw = request.body
    if may_be_empty and not raw:
        return {}
    charset = (request.content_params or {}).get("charset", "utf-8")
    if request.content_type != "application/json" or charset.lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType
    value = strict_json.loads(raw, max_bytes=max_bytes)
    # Or the request would keep it until its answer has ended: a stream takes minutes, and a body may have megabytes.
    request._body, request._stream = b"", BytesIO()
    return value
