"""Content negotiation by the Accept header."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from django.http import HttpRequest

from rest.errors import NotAcceptable

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

_Q = re.compile(r";\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*(?:;|$)")


def check_acceptable(request: HttpRequest, offered: Sequence[str]) -> None:
    """Raise `NotAcceptable` when the Accept header names types and none of `offered` is among them.

    Parameters other than `q` are ignored: `application/json; charset=utf-8` accepts JSON.
    """
    accepted = _accepted_types(request)
    if accepted and not any(_quality(accepted, kind) for kind in offered):
        raise NotAcceptable


def asks_for_stream(request: HttpRequest) -> bool:
    """Whether the client accepts `text/event-stream` by name (`*/*` does not count) and does not prefer JSON."""
    accepted = _accepted_types(request)
    stream = accepted.get(EVENT_STREAM, 0.0)
    return request.method != "HEAD" and stream > 0 and stream >= _quality(accepted, JSON)


def _quality(accepted: Mapping[str, float], kind: str) -> float:
    """The quality of a media type, by its most specific range (RFC 9110, section 12.5.1)."""
    ranges = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((accepted[name] for name in ranges if name in accepted), 0.0)


def _accepted_types(request: HttpRequest) -> dict[str, float]:
    """The media ranges of Accept with their qualities, from 0 (not acceptable) to 1."""
    ranges = request.headers.get("Accept", "").lower().split(",")
    return {kind: _q(part) for part in ranges if (kind := part.partition(";")[0].strip())}


def _q(part: str) -> float:
    match = _Q.search(part)
    return min(1.0, float(match[1])) if match else 1.0
