"""ETag and If-Match: the version of a row."""

from __future__ import annotations

import re

from django.http import HttpRequest

from foundation.errors import PreconditionFailed, PreconditionRequired

_VERSION = re.compile(r'"([0-9]{1,9})"')


def etag(version: int) -> str:
    return f'"{version}"'


def expected_version(request: HttpRequest) -> int:
    """The version in If-Match.

    Raises `PreconditionRequired` without one (`*` names none), and `PreconditionFailed` for what no version of ours
    can equal: a weak tag, a list, another spelling.
    """
    given = request.headers.get("If-Match", "").strip()
    if given in {"", "*"}:
        raise PreconditionRequired
    match = _VERSION.fullmatch(given)
    if match is None:
        raise PreconditionFailed
    return int(match[1])
