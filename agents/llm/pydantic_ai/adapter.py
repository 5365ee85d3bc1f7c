"""Streaming from a vendor through pydantic-ai: one request, our deadlines, and every way it can break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from agents.llm.deadlines import DeadlineClock
from agents.llm.errors import BadModelRequest, ModelAuthFailed, ModelError, TransientModelError
from agents.llm.interface import FirstToken, ModelEvent, ModelRequest, RateLimits, UsageUpdate
from agents.llm.openai.error_mapping import clean_detail
from agents.llm.pydantic_ai.config import VendorConfig
from agents.llm.rate_limit_headers import estimate_call_tokens, read_rate_limits
from agents.llm.routes import route_error

if TYPE_CHECKING:
    from pydantic_ai.models import StreamedResponse

    from agents.llm.pydantic_ai.client import VendorClient
    from agents.llm.pydantic_ai.http import Exchange

# Bedrock finds its credentials in more places than one.
_NEEDS_KEY = frozenset({"anthropic", "google"})


class VendorModel:
    """All models of one vendor. Nothing is retried and no redirect is followed here."""

    def __init__(self, config: VendorConfig) -> None:
        self._config = config
        self._clients: dict[asyncio.AbstractEventLoop, VendorClient] = {}
        self._loading = asyncio.Lock()

    async def aclose(self) -> None:
        """Close the connections of the running loop."""
        if client := self._clients.pop(asyncio.get_running_loop(), None):
            await client.aclose()

    async def stream(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """See `LLM.stream`. Each piece of text or reasoning is one delta."""
        if self._config.provider in _NEEDS_KEY and not self._config.api_key:
            raise ModelAuthFailed("There is no API key for the model's provider.")
        client = await self._client()
        clock, exchange = DeadlineClock(request.deadlines), client.exchange(request)
        try:
            async with AsyncExitStack() as stack:
                stream = await self._open(client, request, clock, exchange, stack)
                answer, events, last_usage, first = client.answer(request), aiter(stream), None, True
                while (event := await self._next(client, events, clock, has_started=answer.has_started)) is not None:
                    clock.end_wait(got_event=True)
                    delta = answer.take(event)
                    if answer.has_started and first:
                        first = False
                        yield FirstToken(exchange.request_id, _rate_limits(exchange, request))
                    if delta is not None:
                        yield delta
                    if (usage := client.usage(stream)) is not None and usage != last_usage:
                        last_usage = usage
                        yield UsageUpdate(usage, stream.model_name)
                yield answer.finish(stream, client.usage(stream))
        except ModelError as error:
            error.request_id = exchange.request_id
            raise

    async def _client(self) -> VendorClient:
        """The client of the running loop. The first one imports the vendor's libraries, in a thread."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            async with self._loading:
                if loop not in self._clients:
                    self._clients[loop] = await asyncio.to_thread(_load, self._config)
        return self._clients[loop]

    async def _open(
        self,
        client: VendorClient,
        request: ModelRequest,
        clock: DeadlineClock,
        exchange: Exchange,
        stack: AsyncExitStack,
    ) -> StreamedResponse:
        """The stream, whose connection `stack` closes."""
        due_at = clock.begin_wait(has_started=False)
        try:
            async with asyncio.timeout_at(due_at):
                return await stack.enter_async_context(client.open(request, exchange))
        except Exception as error:
            raise _map_error(client, error, clock.timeout_message(due_at, has_started=False)) from None

    async def _next(self, client: VendorClient, events: Any, clock: DeadlineClock, *, has_started: bool) -> Any | None:
        """The next event; None at the end."""
        due_at = clock.begin_wait(has_started=has_started)
        try:
            async with asyncio.timeout_at(due_at):
                return await anext(events, None)
        except Exception as error:
            raise _map_error(client, error, clock.timeout_message(due_at, has_started=has_started)) from None


def _rate_limits(exchange: Exchange, request: ModelRequest) -> RateLimits | None:
    call_tokens = estimate_call_tokens(exchange.sent_bytes, request.max_output_tokens)
    return read_rate_limits(exchange.response_headers, call_tokens=call_tokens)


def _load(config: VendorConfig) -> VendorClient:
    try:
        from agents.llm.pydantic_ai.client import VendorClient
    except ImportError as error:
        fault = route_error(f"{config.provider}:any") or "The libraries of the provider do not load."
        raise BadModelRequest(fault, provider_detail=type(error).__name__) from None
    try:
        return VendorClient(config)
    except Exception as error:
        # Their libraries look for regions and credentials when a client is made.
        detail = clean_detail(f"{type(error).__name__}: {error}", config.api_key)
        raise BadModelRequest(
            "The settings of the model's provider are not complete.", provider_detail=detail
        ) from None


def _map_error(client: VendorClient, error: Exception, late: str) -> ModelError:
    """The `ModelError` for a deadline or an exception of the vendor's libraries, which is not chained: its message may
    hold keys."""
    if isinstance(error, ModelError):
        return error
    return TransientModelError(late) if type(error) is TimeoutError else client.map_error(error)
