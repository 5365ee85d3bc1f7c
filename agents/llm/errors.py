"""What can go wrong with a model: a closed set of classes. Who calls the model decides by the class what comes next."""

from __future__ import annotations

from math import isnan
from typing import ClassVar, Literal

from foundation.errors import BandstandError

ErrorClass = Literal[
    "transient",
    "rate_limit",
    "context_length",
    "content_filter",
    "auth",
    "bad_request",
    "tool_error",
    "cancelled",
    "unknown",
]


_REFUSALS = frozenset({"rate_limit", "context_length", "auth", "bad_request"})


class ModelError(BandstandError):
    """The model failed in a way that we do not know.

    `detail` may be shown to users: it never holds an address, a key or the provider's own words. Those, cleaned of
    secrets, are in `provider_detail`, for operators only.
    """

    code = "model_unknown"
    error_class: ClassVar[ErrorClass] = "unknown"

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after_seconds: float | None = None,
        provider_detail: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(
            detail or (self.__doc__ or "").partition("\n")[0],
            retry_after_seconds=retry_after_seconds,
            provider_detail=provider_detail,
            status=status,
        )
        self.provider_detail = provider_detail
        self.status = status

    @property
    def refused(self) -> bool:
        """Whether the provider did not even begin to work, which nobody has to pay."""
        return self.status is not None or self.error_class in _REFUSALS


class TransientModelError(ModelError):
    """The model could not be reached or broke off its answer."""

    code = "model_transient"
    error_class = "transient"
    retryable = True


class ModelUnreachable(TransientModelError):
    """The model could not be reached."""

    @property
    def refused(self) -> bool:
        return True


class ModelRateLimited(ModelError):
    """The model's provider asks us to slow down."""

    code = "model_rate_limit"
    error_class = "rate_limit"
    retryable = True


class ContextTooLong(ModelError):
    """The conversation is longer than the model can read."""

    code = "model_context_length"
    error_class = "context_length"


class ContentFiltered(ModelError):
    """The model's provider refused this content."""

    code = "model_content_filter"
    error_class = "content_filter"


class ModelAuthFailed(ModelError):
    """The model's provider does not accept our credentials or our account."""

    code = "model_auth"
    error_class = "auth"


class BadModelRequest(ModelError):
    """The model does not exist or does not accept this kind of request."""

    code = "model_bad_request"
    error_class = "bad_request"


class ToolFailed(ModelError):
    """A tool failed on the provider's side."""

    code = "model_tool_error"
    error_class = "tool_error"


class ModelCancelled(ModelError):
    """The call of the model was cancelled."""

    code = "model_cancelled"
    error_class = "cancelled"


BY_CLASS: dict[ErrorClass, type[ModelError]] = {
    kind.error_class: kind
    for kind in (
        ModelError,
        TransientModelError,
        ModelRateLimited,
        ContextTooLong,
        ContentFiltered,
        ModelAuthFailed,
        BadModelRequest,
        ToolFailed,
        ModelCancelled,
    )
}

_BY_STATUS: dict[int, type[ModelError]] = {
    401: ModelAuthFailed,
    402: ModelAuthFailed,
    403: ModelAuthFailed,
    408: TransientModelError,
    409: TransientModelError,
    413: ContextTooLong,
    425: TransientModelError,
    429: ModelRateLimited,
}
_LONGEST_WAIT_SECONDS = 86_400.0


def kind_of_status(status: int) -> type[ModelError]:
    """What a provider's HTTP status means where its words say no more."""
    return _BY_STATUS.get(status, TransientModelError if status >= 500 else BadModelRequest)


def sensible_wait(seconds: float) -> float | None:
    """What a provider asks us to wait, up to a day; None for what is no number."""
    return None if isnan(seconds) else min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)
