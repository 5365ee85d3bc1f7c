"""Streaming from an OpenAI-compatible server: one request, its deadlines, and every way it can break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import aiohttp
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from agents.llm.deadlines import LATE_FIRST, DeadlineClock
from agents.llm.dialect_settings import Dialects
from agents.llm.dialects import Dialect, preset_for_address
from agents.llm.errors import (
    BadModelRequest,
    ModelAuthFailed,
    ModelError,
    ModelUnreachable,
    TransientModelError,
    extract_request_id,
)
from agents.llm.interface import FirstToken, ModelEvent, ModelRequest, RateLimits, UsageUpdate
from agents.llm.openai.answer_body import READ_FAULTS, AnswerBody
from agents.llm.openai.dialect_learning import learn
from agents.llm.openai.error_mapping import clean_detail, error_from_response
from agents.llm.openai.request import encode_request
from agents.llm.openai.stream_parser import StreamParser
from agents.llm.rate_limit_headers import estimate_call_tokens, read_rate_limits
from agents.llm.routes import OPENAI_BASE_URL
from foundation.http import AddressRefused, GuardedClient

log = structlog.get_logger(__name__)

_MAX_ERROR_BYTES = 64 * 1024
_ERROR_BODY_SECONDS = 1.0
_MAX_LESSONS = 4
_MAX_LEARNED = 1_000


@dataclass(frozen=True, slots=True)
class OpenAIConfig:
    """Where the server is and what it accepts. A local server needs no key."""

    api_key: str | None = field(default=None, repr=False)
    base_url: str = OPENAI_BASE_URL
    dialects: Dialects = field(default_factory=Dialects)


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
# What a kept connection raises that its server was closing: in all likelihood nobody has read the request.
_STALE = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, aiohttp.ClientConnectionResetError)


class OpenAIModel:
    """All models of one OpenAI-compatible server. No redirect is followed.

    Nothing is retried but requests that nobody has worked on: one that met a kept connection which the server was
    closing, and one that the server refused because of something that it can do without.
    """

    def __init__(self, config: OpenAIConfig, client: GuardedClient) -> None:
        """`client` is shared and closed by its owner; it must allow the server's origin if that is local."""
        self._secret = config.api_key
        self._client = client
        base = URL(config.base_url)
        # Some servers want a query with every request, such as a version of their API.
        self._url = base.with_path(base.raw_path.rstrip("/") + "/chat/completions", encoded=True, keep_query=True)
        host = self._url.host or ""
        self._dialects = config.dialects
        self._preset = preset_for_address(host, self._url.port or 0)
        # What this process has learned of the server, by model.
        self._learned: dict[str, Dialect] = {}
        self._has_credentials = bool(config.api_key) or not host.endswith("openai.com")

    async def aclose(self) -> None:
        """Nothing of its own is open."""

    def dialect(self, model: str) -> Dialect:
        """The dialect in which the server is asked for `model`."""
        return self._learned.get(model) or self._dialects.for_route(f"openai:{model}", self._preset)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """See `LLM.stream`. The text of one read of the network is one delta."""
        clock = DeadlineClock(request.deadlines)
        response, dialect, learned = await self._open(request, clock)
        request_id = extract_request_id(response.headers)
        parser = self._parser(request, dialect)
        body = AnswerBody(response, clock, map_error=self._map_error, secret=self._secret)
        first, usage = True, None
        try:
            while not parser.is_finished and not body.has_ended:
                deltas = parser.take(
                    await body.read(
                        has_started=parser.has_started,
                        has_reason=parser.has_reason,
                        has_usage=parser.usage is not None,
                    )
                )
                if body.has_ended or parser.is_finished:
                    deltas += parser.rest()
                if parser.has_started and first:
                    first = False
                    yield FirstToken(request_id, _rate_limits(response, request))
                # The stream may break off before the next one.
                is_new = parser.usage is not None and parser.usage is not usage and not parser.is_done
                usage = parser.usage
                if is_new and usage is not None and parser.is_usage_old:
                    yield UsageUpdate(usage, parser.model)
                for delta in deltas:
                    yield delta
                if is_new and usage is not None and not parser.is_usage_old:
                    yield UsageUpdate(usage, parser.model)
            if body.is_empty:
                raise body.not_an_answer()
            try:
                finished = parser.finish()
            except ModelError:
                if parser.usage is not None and not parser.is_usage_old:
                    yield UsageUpdate(parser.usage, parser.model)
                raise
            await body.drain()
            yield replace(finished, notes={**finished.notes, "learned": learned}) if learned else finished
        except ModelError as error:
            error.request_id = request_id
            raise
        finally:
            # Closes the connection, unless the answer was read to its end and the connection is back in the pool.
            response.close()

    def _parser(self, request: ModelRequest, dialect: Dialect) -> StreamParser:
        return StreamParser(
            secret=self._secret,
            tools=frozenset([tool.name for tool in request.tools]),
            starts_reasoning=dialect.starts_reasoning,
            needs_finish_reason=dialect.needs_finish_reason,
        )

    async def _open(
        self, request: ModelRequest, clock: DeadlineClock
    ) -> tuple[aiohttp.ClientResponse, Dialect, list[str]]:
        """The response whose body is the answer, the dialect of its request, and what was learned on the way, which is
        remembered. Raises `ModelError` for any other response."""
        if not self._has_credentials:
            raise ModelAuthFailed("There is no API key for the model's provider.")
        learned: list[str] = []
        dialect = self.dialect(request.model)
        while True:
            response = await self._post(encode_request(request, dialect=dialect), dialect, request, clock)
            # Whatever its content type says: servers write anything there.
            if 200 <= response.status < 300:
                if learned:
                    self._remember(request.model, dialect, learned)
                return response, dialect, learned
            try:
                body = await _error_body(response, clock)
                error = error_from_response(response.status, response.headers, body, secret=self._secret)
                error.request_id = extract_request_id(response.headers)
            finally:
                response.close()
            # A prompt that is too long, or a wrong key, says nothing about fields, whatever words it uses.
            is_refusal = isinstance(error, BadModelRequest | TransientModelError) and len(learned) < _MAX_LESSONS
            text = body.decode("utf-8", "replace")
            lesson = learn(dialect, request, response.status, text) if is_refusal else None
            if lesson is None:
                raise error
            learned.append(lesson.name)
            dialect = lesson.dialect

    def _remember(self, model: str, dialect: Dialect, learned: list[str]) -> None:
        if len(self._learned) >= _MAX_LEARNED:
            self._learned.clear()
        self._learned[model] = dialect
        log.info("dialect.learned", model=model, lessons=learned)

    async def _post(
        self, body: bytes, dialect: Dialect, request: ModelRequest, clock: DeadlineClock
    ) -> aiohttp.ClientResponse:
        """The response to `body`, of any status; asked for again on a connection of its own if a kept one was stale."""
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
            if dialect.has_key_header:
                headers["api-key"] = self._secret
        timeout = aiohttp.ClientTimeout(total=None, connect=request.deadlines.connect_seconds)
        options: dict[str, Any] = {"data": body, "headers": headers, "timeout": timeout, "allow_redirects": False}
        context = SimpleNamespace()
        try:
            async with asyncio.timeout_at(clock.first_token_at):
                try:
                    return await self._client.session().post(self._url, trace_request_ctx=context, **options)
                except _STALE as error:
                    if isinstance(error, aiohttp.ClientConnectorError) or not hasattr(context, "reused"):
                        raise
                return await self._client.session(fresh=True).post(self._url, **options)
        except Exception as error:
            raise self._map_error(error, LATE_FIRST) from None

    def _map_error(self, error: Exception, late: str) -> ModelError:
        """The `ModelError` for a network error, which is not chained: its message holds addresses and headers."""
        detail = clean_detail(f"{type(error).__name__}: {error}", self._secret)
        if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
            return TransientModelError(late)
        for causes, kind, message in _FAULTS:
            if isinstance(error, causes):
                return kind(message, provider_detail=detail)
        return ModelError(provider_detail=detail)


def _rate_limits(response: aiohttp.ClientResponse, request: ModelRequest) -> RateLimits | None:
    sent_bytes = int(response.request_info.headers.get("Content-Length", 0))
    return read_rate_limits(response.headers, call_tokens=estimate_call_tokens(sent_bytes, request.max_output_tokens))


async def _error_body(response: aiohttp.ClientResponse, clock: DeadlineClock) -> bytes:
    """The beginning of the body of an error response; less if it does not arrive soon, since the status is enough."""
    body = bytearray()
    try:
        async with asyncio.timeout_at(clock.cap_deadline(_ERROR_BODY_SECONDS)):
            while len(body) < _MAX_ERROR_BYTES and (data := await response.content.readany()):
                body += data
    except READ_FAULTS:
        pass
    return bytes(body[:_MAX_ERROR_BYTES])
