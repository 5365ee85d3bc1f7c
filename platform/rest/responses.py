"""Answers that are not errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse

from foundation import strict_json


def json_response(value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """`value` as JSON. Never cached: everything here is somebody's own."""
    return text_response(strict_json.dumps(value), status=status, headers=headers)


def text_response(json: str | bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """JSON that is text already."""
    return HttpResponse(
        json,
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def no_content() -> HttpResponse:
    return HttpResponse(status=204, headers={"Cache-Control": "no-store"})
