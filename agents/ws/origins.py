"""The origins whose pages may open a socket with a login: compared with scheme and port."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_allowed(origin: str, *, own_origin: str | None, trusted_origins: Iterable[str]) -> bool:
    """Whether `origin` (the header) is `own_origin` of this server or one of `trusted_origins`.

    The latter are written as in CSRF_TRUSTED_ORIGINS: `https://chat.example.com:8443`, or `https://*.example.com` for
    every subdomain.
    """
    origin_parts = _parse_origin(origin)
    if origin_parts is None:
        return False
    if own_origin is not None and origin_parts == _parse_origin(own_origin):
        return True
    return any(_matches(origin_parts, pattern) for pattern in trusted_origins)


def _matches(origin_parts: tuple[str, str, int], pattern: str) -> bool:
    scheme, separator, rest = pattern.partition("://*.")
    if not separator:
        return origin_parts == _parse_origin(pattern)
    parent = _parse_origin(f"{scheme}://{rest}")
    return parent is not None and origin_parts[0::2] == parent[0::2] and origin_parts[1].endswith("." + parent[1])


def _parse_origin(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of `origin`; None if it is not an http(s) origin."""
    try:
        split = urlsplit(origin)
        port = split.port
    except ValueError:
        return None
    if split.scheme not in DEFAULT_PORTS or not split.hostname or split.username is not None:
        return None
    if split.path or split.query or split.fragment:
        return None
    return split.scheme, split.hostname, port or DEFAULT_PORTS[split.scheme]
