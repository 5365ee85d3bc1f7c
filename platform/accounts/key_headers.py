"""The API key in the headers of a request: one reader for HTTP and websockets."""

from __future__ import annotations

from collections.abc import Iterable


def join_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name, those of one name joined as Django joins them: by a comma, cookies by a semicolon."""
    joined: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in joined:
            joined[name] += (b"; " if name == b"cookie" else b",") + value
        else:
            joined[name] = value
    return joined


def read_api_key(authorization: str | None, x_api_key: str | None) -> str | None:
    """The key in `Authorization: Bearer` or `X-Api-Key`: None without one; "" for another scheme, or two keys that
    differ: which of them a proxy has looked at is unknown."""
    if authorization is None:
        return None if x_api_key is None else x_api_key.strip()
    scheme, _, key = authorization.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or (x_api_key is not None and x_api_key.strip() != key):
        return ""
    return key
