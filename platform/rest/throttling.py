"""Counts requests, and sets the RateLimit headers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from django.http.response import HttpResponseBase

from accounts.actor import Actor
from ratelimits import Remaining, guard_request


def count_request(actor: Actor) -> Sequence[Remaining]:
    """Count a request of `actor`; return what remains. Raises `RateLimited`."""
    return guard_request(user_id=actor.user_id, key_id=actor.key_id) if actor.user_id is not None else ()


def limit_headers(remaining: Sequence[Remaining]) -> dict[str, str]:
    """`RateLimit-Policy` and `RateLimit` by draft-ietf-httpapi-ratelimit-headers, version 8 or later: `q` requests per
    `w` seconds; `r` remain, all are back in `t` seconds."""
    if not remaining:
        return {}
    policies = (f'"{item.rate.name}";q={item.rate.limit};w={item.rate.period_seconds:.0f}' for item in remaining)
    remains = (f'"{item.rate.name}";r={item.tokens};t={math.ceil(item.full_in_seconds)}' for item in remaining)
    return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(remains)}


def add_limit_headers(response: HttpResponseBase, remaining: Sequence[Remaining]) -> None:
    """Set `limit_headers` on a response."""
    for name, value in limit_headers(remaining).items():
        response[name] = value
