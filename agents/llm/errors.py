"""What a model can raise: one exception for each error class that model calls can have."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from math import ceil, isnan
from typing import Any, ClassVar

from agents.domain.budgets import CALL_TOO_LARGE, describe_exhausted
from agents.domain.failures import ErrorClass, Recovery
from foundation.durations import duration
from foundation.errors import BandstandError
from foundation.storable_text import storable_text

_NOT_BILLED = frozenset(
    {
        ErrorClass.RATE_LIMIT,
        ErrorClass.CONTEXT_LENGTH,
        ErrorClass.AUTH,
        ErrorClass.BAD_REQUEST,
        ErrorClass.BUDGET_EXCEEDED,
        ErrorClass.PRICE_UNKNOWN,
    }
)


class ModelError(BandstandError):
    """The model failed in a way that we do not know.

    Users read `user_detail`, which says no more than the class does. `detail` is exact, for operators; like all that is
    shown or logged it never holds an address, a key or the provider's own message. That, without secrets, is in
    `provider_detail`, for operators only, and so are its `provider_code` and HTTP `status`. `request_id` is the
    provider's id of the request, if it sent one. A subclass has its `error_class`, and the `user_message` of that class
    unless it declares its own.
    """

    code = "model_unknown"
    error_class: ClassVar[ErrorClass] = ErrorClass.UNKNOWN
    user_message: ClassVar[str] = "The model failed in a way that we do not know."
    # Whether it says something about the route; not where that was not asked.
    is_of_route: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = f"model_{cls.error_class}"
        cls.retryable = cls.error_class.failure.recovery is Recovery.RETRY
        if "user_message" not in vars(cls):
            cls.user_message = cls.error_class.failure.user_message

    def __init__(
        self,
        detail: str | None = None,
        *,
        retry_after_seconds: float | None = None,
        provider_detail: str = "",
        provider_code: str = "",
        status: int | None = None,
    ) -> None:
        super().__init__(
            detail or self.user_message,
            retry_after_seconds=retry_after_seconds,
            provider_detail=provider_detail,
            status=status,
        )
        self.provider_detail = provider_detail
        self.provider_code = provider_code
        self.status = status
        self.request_id: str | None = None

    @property
    def retry_at(self) -> datetime | None:
        """When trying again may help; None: at any time, or never, as its class says."""
        return None

    @property
    def user_detail(self) -> str:
        """What happened, for the people who chat: whether trying again helps, and when, or whom to tell."""
        if self.error_class is not ErrorClass.RATE_LIMIT:
            return self.user_message
        seconds = ceil(self.retry_after_seconds or 0)
        when = f"in {duration(seconds)}" if seconds else "in a moment"
        return f"{self.user_message} Try again {when}."

    @property
    def report(self) -> dict[str, Any]:
        """What the provider said, for operators and for `Step.details`, as far as known."""
        report = {
            "status": self.status,
            "code": self.provider_code,
            "message": self.provider_detail or (self.detail if self.detail != self.user_message else ""),
            "retry_after_seconds": self.retry_after_seconds,
            "request_id": self.request_id,
        }
        return {name: value for name, value in report.items() if value not in (None, "")}

    @property
    def log_fields(self) -> dict[str, Any]:
        """What the provider said, for a line of the log: `status`, `provider_message`, `provider_request_id`."""
        names = {"status": "status", "message": "provider_message", "request_id": "provider_request_id"}
        return {names[name]: value for name, value in self.report.items() if name in names}

    @property
    def not_billed(self) -> bool:
        """Whether the provider refused the request before any work, so that it is not billed."""
        return self.status is not None or self.error_class in _NOT_BILLED


class TransientModelError(ModelError):
    error_class = ErrorClass.TRANSIENT


class ModelUnreachable(TransientModelError):
    user_message = "The model could not be reached. Try again in a moment."

    @property
    def not_billed(self) -> bool:
        return True


class ModelRateLimited(ModelError):
    error_class = ErrorClass.RATE_LIMIT


class ContextTooLong(ModelError):
    error_class = ErrorClass.CONTEXT_LENGTH


class ContentFiltered(ModelError):
    error_class = ErrorClass.CONTENT_FILTER


class EmptyAnswer(ModelError):
    error_class = ErrorClass.EMPTY_ANSWER


class ModelAuthFailed(ModelError):
    error_class = ErrorClass.AUTH


class BadModelRequest(ModelError):
    error_class = ErrorClass.BAD_REQUEST


class BudgetExceeded(ModelError):
    error_class = ErrorClass.BUDGET_EXCEEDED
    is_of_route = False

    def __init__(
        self, detail: str | None = None, *, resets_at: datetime | None = None, is_too_large: bool = False
    ) -> None:
        """`resets_at` is when the budget begins anew; None where that does not help. `is_too_large`: the call needs
        more than all of it."""
        super().__init__(detail)
        self.resets_at = resets_at
        self.is_too_large = is_too_large

    @property
    def retry_at(self) -> datetime | None:
        return self.resets_at

    @property
    def user_detail(self) -> str:
        """That it is used up, and when it begins anew; or that it never was enough."""
        return CALL_TOO_LARGE if self.is_too_large else describe_exhausted(self.resets_at)


class PriceUnknown(ModelError):
    error_class = ErrorClass.PRICE_UNKNOWN
    is_of_route = False


class ToolFailed(ModelError):
    error_class = ErrorClass.TOOL_ERROR


class ModelCancelled(ModelError):
    error_class = ErrorClass.CANCELLED
    user_message = "The call of the model was cancelled."


BY_CLASS: dict[ErrorClass, type[ModelError]] = {
    kind.error_class: kind
    for kind in (
        ModelError,
        TransientModelError,
        ModelRateLimited,
        ContextTooLong,
        ContentFiltered,
        EmptyAnswer,
        ModelAuthFailed,
        BadModelRequest,
        BudgetExceeded,
        PriceUnknown,
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
_MAX_RETRY_AFTER_SECONDS = 86_400.0
# OpenAI's and most servers' header, Anthropic's, Azure's.
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
_MAX_REQUEST_ID = 100


def error_for_status(status: int) -> type[ModelError]:
    """The error for a provider's HTTP status, where its body is no more exact."""
    return _BY_STATUS.get(status, TransientModelError if status >= 500 else BadModelRequest)


def extract_request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of a request from its response headers, which its support asks for; None without one."""
    value = next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)
    return storable_text(value)[:_MAX_REQUEST_ID] if value is not None else None


def clamp_retry_after(seconds: float) -> float | None:
    """The seconds that a provider asks us to wait, from 0 to a day; None for NaN."""
    return None if isnan(seconds) else min(max(seconds, 0.0), _MAX_RETRY_AFTER_SECONDS)
