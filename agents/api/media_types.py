"""Accept: in which type a client wants its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence

from django.http import HttpRequest

from agents.api.refusals import NotAcceptable

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

_REFUSED = re.compile(r";\s*q\s*=\s*0(\.0*)?\s*(;|$)")


def check_acceptable(request: HttpRequest, offered: Sequence[str]) -> None:
    """Raise `NotAcceptable` when the Accept header names types and none of `offered` is among them.

    Parameters but for `q=0` do not count: `application/json; charset=utf-8` asks for JSON.
    """
    named = _named(request)
    wanted = {kind for kind, refused in named.items() if not refused}
    if named and not any({kind, f"{kind.partition('/')[0]}/*", "*/*"} & wanted for kind in offered):
        raise NotAcceptable


def asks_for_stream(request: HttpRequest) -> bool:
    """Whether the client accepts server-sent events by name (`*/*` does not ask for a stream)."""
    return request.method != "HEAD" and _named(request).get(EVENT_STREAM) is False


def _named(request: HttpRequest) -> dict[str, bool]:
    """The types that Accept names, and whether it refuses them."""
    ranges = request.headers.get("Accept", "").lower().split(",")
    return {kind: bool(_REFUSED.search(part)) for part in ranges if (kind := part.partition(";")[0].strip())}
