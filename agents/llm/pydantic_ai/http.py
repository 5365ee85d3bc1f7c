"""The HTTP client of the vendors' libraries, with our limits instead of theirs."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar

import httpx2

from agents.llm.errors import extract_request_id

MAX_ANSWER_BYTES = 32 * 1024 * 1024


class Exchange:
    """One request: what our transport must know about it, and the body, which the vendor's library may fail to close.

    Google's cannot be told to close a stream from outside (googleapis/python-genai#2425).

    It belongs to the task that asks: `begin` before the library is called, `aclose` when its answer is done with.
    """

    def __init__(self, connect_seconds: float) -> None:
        self.connect_seconds = connect_seconds
        self.request_id: str | None = None
        self.response_headers: Mapping[str, str] = {}
        self.sent_bytes = 0
        self.body: httpx2.AsyncByteStream | None = None

    def begin(self) -> None:
        _EXCHANGE.set(self)

    async def aclose(self) -> None:
        """Close the connection, unless the answer was read to its end."""
        if self.body is not None:
            await self.body.aclose()


_EXCHANGE: ContextVar[Exchange] = ContextVar("exchange")


def open_http() -> httpx2.AsyncClient:
    """A client without proxies or credentials from the environment and without redirects; callers keep the
    deadlines."""
    transport = _Transport(
        verify=ssl.create_default_context(), trust_env=False, limits=httpx2.Limits(max_connections=None)
    )
    return httpx2.AsyncClient(
        transport=transport, timeout=httpx2.Timeout(None, connect=30), trust_env=False, follow_redirects=False
    )


class Redirected(httpx2.TransportError):
    """The vendor's address redirects, which is not followed."""


class _Transport(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        exchange = _EXCHANGE.get()
        seconds = exchange.connect_seconds
        request.extensions["timeout"] = {"connect": seconds, "pool": seconds, "read": None, "write": None}
        response = await super().handle_async_request(request)
        exchange.request_id = extract_request_id(response.headers)
        exchange.response_headers = response.headers
        exchange.sent_bytes = int(request.headers.get("Content-Length", 0))
        # Some libraries (google-genai 2.34.0, anthropic 2.12.0) follow redirects whatever the client says, and would
        # take the key along.
        if response.has_redirect_location:
            await response.aclose()
            raise Redirected("The address redirects elsewhere.")
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = exchange.body = _Bounded(response.stream)
        return response


class _Bounded(httpx2.AsyncByteStream):
    """A body that ends with an error above `MAX_ANSWER_BYTES`."""

    def __init__(self, body: httpx2.AsyncByteStream) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for data in self._body:
            received += len(data)
            if received > MAX_ANSWER_BYTES:
                raise httpx2.ReadError("The answer does not end.")
            yield data

    async def aclose(self) -> None:
        await self._body.aclose()
