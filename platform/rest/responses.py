"""Successful responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from foundation import strict_json


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A response with `value` as JSON, not cacheable."""
    return text_response(strict_json.dumps(value), status=status, headers=headers)


def text_response(json: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A response with serialised JSON, not cacheable."""
    return HttpResponse(
        json,
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def no_content() -> HttpResponse:
    """An empty response with status 204."""
    return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
