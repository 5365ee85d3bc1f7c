"""Errors that only exist over HTTP."""

from __future__ import annotations

from collections.abc import Sequence

from foundation.errors import BandstandError, Conflict, Forbidden, InvalidInput, Unavailable


class UnsupportedMediaType(BandstandError):
    """A body must be JSON in UTF-8: Content-Type application/json, without a Content-Encoding."""

    code = "unsupported_media_type"


class MethodNotAllowed(BandstandError):
    """This address does not answer that method."""

    code = "method_not_allowed"


class NotAcceptable(BandstandError):
    """This address does not answer in a type that your Accept header allows."""

    code = "not_acceptable"


class CsrfFailed(Forbidden):
    """A change with the browser's login needs its CSRF token in X-CSRFToken."""

    code = "csrf_failed"


class IdempotencyInProgress(Conflict):
    """The first request with this idempotency key is still being answered."""

    code = "idempotency_in_progress"
    retryable = True


class ServerStops(Unavailable):
    """The server restarts. The turn goes on; its answer will be in the session."""

    code = "server_stops"


class InvalidFields(InvalidInput):
    """Some fields are not acceptable."""

    def __init__(self, faults: Sequence[tuple[str, str, str]]) -> None:
        """`faults` are tuples (pointer, code, detail)."""
        self.faults = faults
        super().__init__()


def invalid_parameter(name: str, detail: str) -> InvalidFields:
    """The error of a query parameter, path parameter or header, named like `?limit` or `{session_id}`."""
    return InvalidFields([(name, "invalid", detail)])
