"""One tree of errors. A class's docstring is its default message; transports map `code` to their own shapes once."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, ClassVar


class BandstandError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str | None = None,
        *,
        pointer: str | None = None,
        retry_after_seconds: float | None = None,
        **context: Any,
    ) -> None:
        """`detail` is shown to the caller: nothing internal. `pointer` is a JSON pointer into the caller's input."""
        self.detail = detail or cleandoc(type(self).__doc__ or "")
        self.pointer = pointer
        self.retry_after_seconds = retry_after_seconds
        self.context = context
        super().__init__(self.detail)


class InvalidInput(BandstandError):
    """The input is well-formed but not acceptable."""

    code = "invalid"


class IdempotencyMismatch(InvalidInput):
    """This idempotency key was used before with another request."""

    code = "idempotency_mismatch"


class Malformed(BandstandError):
    """The input cannot be read."""

    code = "malformed"


class TooLarge(BandstandError):
    """The input is too large."""

    code = "too_large"


class NotFound(BandstandError):
    """There is no such thing here."""

    code = "not_found"


class Unauthenticated(BandstandError):
    """Credentials are missing, wrong or no longer valid."""

    code = "unauthenticated"


class Forbidden(BandstandError):
    """Your role or key does not allow this."""

    code = "forbidden"


class Conflict(BandstandError):
    """The present state does not allow this."""

    code = "conflict"


class PreconditionRequired(BandstandError):
    """This change needs an If-Match header with the version you have read."""

    code = "precondition_required"


class PreconditionFailed(BandstandError):
    """Somebody changed this since you read it."""

    code = "precondition_failed"


class RateLimited(BandstandError):
    """Too many requests."""

    code = "rate_limited"
    retryable = True


class Unavailable(BandstandError):
    """The service cannot answer just now; please try again."""

    code = "unavailable"
    retryable = True


class OurFault(BandstandError):
    """Something went wrong on our side."""

    code = "internal"
    retryable = True
