"""From which pages a browser may open a socket with a login: whole origins, with scheme and port."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin_allowed(origin: str, *, own: str | None, trusted: Iterable[str]) -> bool:
    """Whether `origin` (the header) is the `own` origin of this server or one of `trusted`.

    `trusted` is written as in CSRF_TRUSTED_ORIGINS: `https://chat.example.com:8443`, or `https://*.example.com` for
    every subdomain.
    """
    asked = _parts(origin)
    if asked is None:
        return False
    if own is not None and asked == _parts(own):
        return True
    return any(_matches(asked, pattern) for pattern in trusted)


def _matches(asked: tuple[str, str, int], pattern: str) -> bool:
    scheme, separator, rest = pattern.partition("://*.")
    if not separator:
        return asked == _parts(pattern)
    parent = _parts(f"{scheme}://{rest}")
    return parent is not None and asked[0::2] == parent[0::2] and asked[1].endswith("." + parent[1])


def _parts(origin: str) -> tuple[str, str, int] | None:
    """Scheme, host and port of `origin`; None if it is anything else than an origin of the web."""
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
