"""Streaming from an OpenAI-compatible server: one request, its deadlines, and every way it can break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from agents.llm.deadlines import LATE_FIRST, DeadlineClock
from agents.llm.errors import (
    BadModelRequest,
    ModelAuthFailed,
    ModelError,
    ModelUnreachable,
    TransientModelError,
    extract_request_id,
)
from agents.llm.interface import FirstToken, ModelEvent, ModelRequest, TextDelta, UsageUpdate
from agents.llm.openai.error_mapping import clean_detail, error_from_response
from agents.llm.openai.request import encode_request
from agents.llm.openai.stream_parser import StreamParser
from agents.llm.sse import EventTooLong, SSEDecoder
from foundation.http import AddressRefused, GuardedClient

DEFAULT_BASE_URL = "https://api.openai.com/v1"
MAX_STREAM_BYTES = 32 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 1.0
_END_OF_BODY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class OpenAIConfig:
    """Where the server is and what it accepts. A local server needs no key."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str = DEFAULT_BASE_URL


# The first entry that matches counts.
_FAULTS: tuple[tuple[tuple[type[Exception], ...], type[ModelError], str | None], ...] = (
    ((aiohttp.ConnectionTimeoutError,), ModelUnreachable, "The model could not be reached in time."),
    ((AddressRefused,), BadModelRequest, "The address of the model's provider is not allowed."),
    (
        (aiohttp.ClientConnectorCertificateError,),
        BadModelRequest,
        "The certificate of the model's provider is not valid.",
    ),
    ((aiohttp.ClientConnectorError,), ModelUnreachable, None),
    ((ValueError,), BadModelRequest, "The address or key of the model's provider is wrong."),
    ((aiohttp.ClientError, HttpProcessingError, OSError), TransientModelError, None),
)


class OpenAIModel:
    """All models of one OpenAI-compatible server. Nothing is retried and no redirect is followed here."""

    def __init__(self, config: OpenAIConfig, client: GuardedClient) -> None:
        """`client` is shared and closed by its owner; it must allow the server's origin if that is local."""
        self._secret = config.api_key
        self._client = client
        base = URL(config.base_url)
        # Some servers want a query with every request, such as a version of their API.
        self._url = base.with_path(base.raw_path.rstrip("/") + "/chat/completions", encoded=True, keep_query=True)
        is_openai = (self._url.host or "").endswith("openai.com")
        # OpenAI's newer models refuse the old name; most other servers know only that one.
        self._limit_field = "max_completion_tokens" if is_openai else "max_tokens"
        self._has_credentials = bool(config.api_key) or not is_openai
        self._headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if config.api_key:
            self._headers["Authorization"] = f"Bearer {config.api_key}"

    async def aclose(self) -> None:
        """Nothing of its own is open."""

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """See `LLM.stream`. The text of one read of the network is one delta."""
        clock = DeadlineClock(request.deadlines)
        response = await self._open(request, clock)
        request_id = extract_request_id(response.headers)
        try:
            parser, decoder, received, first = StreamParser(secret=self._secret), SSEDecoder(), 0, True
            while not parser.is_finished:
                data = await self._read(response, clock, has_started=parser.has_started)
                received += len(data)
                events = _events(decoder, data, received)
                clock.end_wait(got_event=bool(events))
                text = parser.take(events)
                if parser.has_started and first:
                    first = False
                    yield FirstToken(request_id)
                if text:
                    yield TextDelta(text)
                if parser.usage is not None and not parser.done:
                    # The stream may break off before the next one.
                    yield UsageUpdate(parser.usage, parser.model)
                if not data:
                    break
            finished = parser.finish()
            await _read_to_end(response)
            yield finished
        except ModelError as error:
            error.request_id = request_id
            raise
        finally:
            # Closes the connection, unless the answer was read to its end and the connection is back in the pool.
            response.close()

    async def _open(self, request: ModelRequest, clock: DeadlineClock) -> aiohttp.ClientResponse:
        """The response whose body is the stream. Raises `ModelError` for any other response."""
        if not self._has_credentials:
            raise ModelAuthFailed("There is no API key for the model's provider.")
        body = encode_request(request, limit_field=self._limit_field)
        timeout = aiohttp.ClientTimeout(total=None, connect=request.deadlines.connect_seconds)
        try:
            async with asyncio.timeout_at(clock.first_token_at):
                response = await self._client.session().post(
                    self._url, data=body, headers=self._headers, timeout=timeout, allow_redirects=False
                )
        except Exception as error:
            raise self._fault(error, LATE_FIRST) from None
        if response.status == 200 and response.content_type == "text/event-stream":
            return response
        try:
            body = await _error_body(response, clock)
            mapped = error_from_response(response.status, response.headers, body, secret=self._secret)
            mapped.request_id = extract_request_id(response.headers)
            raise mapped
        finally:
            response.close()

    async def _read(self, response: aiohttp.ClientResponse, clock: DeadlineClock, *, has_started: bool) -> bytes:
        """The bytes that have arrived; b"" at the end of the body."""
        due_at = clock.begin_wait(has_started=has_started)
        try:
            async with asyncio.timeout_at(due_at):
                return await response.content.readany()
        except Exception as error:
            raise self._fault(error, clock.timeout_message(due_at, has_started=has_started)) from None

    def _fault(self, error: Exception, late: str) -> ModelError:
        """The `ModelError` for a network error, which is not chained: its message holds addresses and headers."""
        detail = clean_detail(f"{type(error).__name__}: {error}", self._secret)
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
            return TransientModelError(late)
        for causes, kind, message in _FAULTS:
            if isinstance(error, causes):
                return kind(message, provider_detail=detail)
        return ModelError(provider_detail=detail)


def _events(decoder: SSEDecoder, data: bytes, received: int) -> list[bytes]:
    if received > MAX_STREAM_BYTES:
        raise TransientModelError("The model's answer does not end.", provider_detail=f"{received} bytes")
    try:
        return decoder.feed(data) if data else decoder.finish()
    except EventTooLong as error:
        raise TransientModelError("The model's answer cannot be read.", provider_detail=str(error)) from None


async def _error_body(response: aiohttp.ClientResponse, clock: DeadlineClock) -> bytes:
    """The beginning of the body of an error response; less if it does not arrive soon, since the status is enough."""
    body = bytearray()
    try:
        async with asyncio.timeout_at(clock.cap_deadline(_ERROR_BODY_SECONDS)):
            while len(body) < _MAX_ERROR_BYTES and (data := await response.content.readany()):
                body += data
    except (TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError):
        pass
    return bytes(body[:_MAX_ERROR_BYTES])


async def _read_to_end(response: aiohttp.ClientResponse) -> None:
    """Read what follows the end mark, for a short time, so that the connection can be reused."""
    if response.content.is_eof():
        return
    try:
        async with asyncio.timeout(_END_OF_BODY_SECONDS):
            while await response.content.readany():
                pass
    except (TimeoutError, aiohttp.ClientError, HttpProcessingError, OSError):
        pass
