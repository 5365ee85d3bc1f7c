"""ETag and If-Match, by the version of a row."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest

from foundation.errors import PreconditionFailed, PreconditionRequired

# A proxy that compresses marks a tag: nginx and Caddy as weak, Apache by a suffix. A version of a row stays what it is.
_VERSION = re.compile(r'(?:W/)?"(0|[1-9][0-9]{0,8})(?:-gzip|-br|-zstd)?"')


def etag(version: int) -> str:
    """The ETag of a version: `"3"`, in quotes."""
    return f'"{version}"'


def expected_version(request: HttpRequest, present: Callable[[], int]) -> int | None:
    """The version that If-Match requires (RFC 9110, section 13.1.1).

    For a list of tags, it is the present version if that is among them; None for `*`, which matches any version.
    Raises `PreconditionRequired` without the header, `PreconditionFailed` for tags that no version can match, and what
    `present` raises.
    """
    header = request.headers.get("If-Match", "").strip()
    if not header:
        raise PreconditionRequired
    if header == "*":
        return None
    versions = {int(match[1]) for tag in header.split(",") if (match := _VERSION.fullmatch(tag.strip()))}
    if len(versions) == 1:
        return versions.pop()
    if versions and (version := present()) in versions:
        return version
    raise PreconditionFailed
