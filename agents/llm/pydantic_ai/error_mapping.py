"""From the exceptions of pydantic-ai and the vendors' libraries to our error classes."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import httpx2
from pydantic_ai import exceptions as vendor

from agents.llm.errors import (
    BadModelRequest,
    ContentFiltered,
    ContextTooLong,
    ModelAuthFailed,
    ModelError,
    ModelRateLimited,
    ModelUnreachable,
    TransientModelError,
    clamp_retry_after,
    error_for_status,
    extract_request_id,
)
from agents.llm.openai.error_mapping import clean_detail, find_error, read_error
from agents.llm.pydantic_ai.http import Redirected

_FILTER_WORDS = re.compile(r"content.?filter|blocked by content|safety (?:polic|guideline|filter)", re.IGNORECASE)
# Exceptions of AWS's library, by name: it is installed only where Bedrock is used.
_NO_CREDENTIALS = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
# The first entry that matches counts: an exceeded quota is no rate limit, a long prompt no bad request.
_BY_KIND: tuple[tuple[type[Exception] | tuple[type[Exception], ...], type[ModelError]], ...] = (
    (vendor.ModelContextWindowExceededError, ContextTooLong),
    ((vendor.ModelQuotaExceededError, vendor.ModelAuthenticationError), ModelAuthFailed),
    (vendor.ModelRateLimitError, ModelRateLimited),
    ((vendor.ModelUnavailableError, vendor.ModelServerError), TransientModelError),
    (vendor.ContentFilterError, ContentFiltered),
    # Broken streams and unreadable bodies.
    ((vendor.ModelConnectionError, vendor.ModelRequestTimeout, vendor.UnexpectedModelBehavior), TransientModelError),
    ((httpx2.TransportError, httpx2.StreamError, OSError, UnicodeError), TransientModelError),
    (vendor.UserError, BadModelRequest),
    # Answers of an unexpected form.
    ((ValueError, TypeError, LookupError, AttributeError), TransientModelError),
)


def map_exception(error: Exception, secret: str | None) -> ModelError:
    """The `ModelError` for an exception of the vendor's libraries."""
    code, words = _own_words(error)
    detail = clean_detail(words or f"{type(error).__name__}: {error}", secret)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return BadModelRequest("The certificate of the model's provider is not valid.", provider_detail=detail)
    if any(type(cause).__name__ in _NO_CREDENTIALS for cause in _causes(error)):
        return ModelAuthFailed("There are no credentials for the model's provider.", provider_detail=detail)
    if any(isinstance(cause, Redirected) for cause in _causes(error)):
        return BadModelRequest("The address of the model's provider is not allowed.", provider_detail=detail)
    if _never_sent(error):
        return ModelUnreachable(provider_detail=detail)
    kind = _kind(error)
    if not isinstance(error, vendor.ModelAPIError):
        return kind(provider_detail=detail)
    status = error.status_code if isinstance(error, vendor.ModelHTTPError) and not error.in_stream else None
    after = error.retry_after
    mapped = kind(
        retry_after_seconds=clamp_retry_after(after) if after is not None else None,
        provider_detail=detail,
        provider_code=clean_detail(code, secret),
        status=status,
    )
    if isinstance(error, vendor.ModelHTTPError) and error.headers:
        mapped.request_id = extract_request_id(error.headers)
    return mapped


def _own_words(error: Exception) -> tuple[str, str]:
    """The vendor's code and message in the body of an error; "" where there are none."""
    if not isinstance(error, vendor.ModelAPIError):
        return "", ""
    found = find_error(error.body)
    codes, words = read_error(error.body if found is None else found)
    return error.provider_error_code or error.provider_error_type or "/".join(codes)[:100], words


def _kind(error: Exception) -> type[ModelError]:
    if isinstance(error, vendor.ModelRequestRejectedError) and _FILTER_WORDS.search(str(error)):
        return ContentFiltered
    for causes, kind in _BY_KIND:
        if isinstance(error, causes):
            return kind
    if isinstance(error, vendor.ModelHTTPError):
        return error_for_status(error.status_code)
    if isinstance(error, vendor.ModelRequestRejectedError):
        return BadModelRequest
    # Errors inside a stream, which have no status, and bodies that are no JSON.
    return TransientModelError if isinstance(error, vendor.ModelAPIError) else ModelError


def _never_sent(error: Exception) -> bool:
    if isinstance(error, vendor.ModelConnectionError):
        return error.phase in ("connect", "pool")
    return isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):
        if error is None:
            return
        yield error
        error = error.__cause__ or error.__context__
