"""ETag and If-Match: the version of a row."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.http import HttpRequest

from foundation.errors import PreconditionFailed, PreconditionRequired

_VERSION = re.compile(r'"(0|[1-9][0-9]{0,8})"')


def etag(version: int) -> str:
    return f'"{version}"'


def expected_version(request: HttpRequest, present: Callable[[], int]) -> int | None:
    """The version that If-Match asks for (RFC 9110, section 13.1.1).

    Of a list it is the `present` one, if that is among them; None for `*`, which says that any will do.
    Raises `PreconditionRequired` without the header, and `PreconditionFailed` for what no version of ours can equal: a
    weak tag, another spelling; and whatever `present` raises.
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
