"""`GuardedClient`, through which every outgoing HTTP request goes whose address a tool or a person chose.

Requests to model servers, whose addresses a connection holds, go through `agents.llm.pydantic_ai.http`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace

import aiohttp
from yarl import URL

from foundation.http.connector import GuardedConnector, SocketFactory
from foundation.http.errors import AddressRefused, Unreachable
from foundation.http.media_types import parse_content_type
from foundation.http.resolver import Resolver, SystemResolver
from foundation.http.target import Target, parse_target

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_CHUNK_BYTES = 64 * 1024
USER_AGENT = "Bandstand"


async def _on_reused(_session: aiohttp.ClientSession, context: SimpleNamespace, _params: object) -> None:
    if context.trace_request_ctx is not None:
        context.trace_request_ctx.reused = True


_TRACE = aiohttp.TraceConfig()
_TRACE.on_connection_reuseconn.append(_on_reused)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A response of any status. `content_type` is lower case and without parameters, `charset` as the server names it;
    either is "" when it names none. `truncated`: `body` was cut. `retry_after` is that header as it came, or ""."""

    url: str
    status: int
    content_type: str
    charset: str
    body: bytes
    truncated: bool
    retry_after: str = ""


class GuardedClient:
    """Requests to public hosts, and to the few origins (`host:port`) that the environment allows.

    No proxies, cookies or credentials from the environment. One pool of connections per event loop.
    """

    def __init__(
        self,
        *,
        allow_origins: frozenset[str] = frozenset(),
        resolver: Resolver | None = None,
        socket_factory: SocketFactory | None = None,
        keepalive_seconds: float = 4,
    ) -> None:
        """`keepalive_seconds`: how long an unused connection is kept; less than servers do (uvicorn and Node: 5 s).

        `socket_factory` creates the sockets of outgoing connections; tests pass one that records them."""
        self._allow = allow_origins
        self._resolver = resolver or SystemResolver()
        self._socket_factory = socket_factory
        self._keepalive_seconds = keepalive_seconds
        self._sessions: dict[tuple[asyncio.AbstractEventLoop, bool], aiohttp.ClientSession] = {}

    async def __aenter__(self) -> GuardedClient:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the pool of the running loop."""
        loop = asyncio.get_running_loop()
        for fresh in (False, True):
            if (session := self._sessions.pop((loop, fresh), None)) is not None:
                await session.close()

    def session(self, *, fresh: bool = False) -> aiohttp.ClientSession:
        """The running loop's session, for streaming adapters. Guarded; never follow redirects with it.

        A request whose `trace_request_ctx` is an object gets its attribute `reused` set when it uses a kept connection.
        A `fresh` session keeps no connections: each request has its own.
        """
        key = asyncio.get_running_loop(), fresh
        session = self._sessions.get(key)
        if session is None or session.closed:
            connector = GuardedConnector(
                allow=self._allow,
                resolver=self._resolver,
                socket_factory=self._socket_factory,
                keepalive_seconds=None if fresh else self._keepalive_seconds,
            )
            session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
                trust_env=False,
                auto_decompress=False,
                requote_redirect_url=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
                trace_configs=None if fresh else [_TRACE],
            )
            self._sessions[key] = session
        return session

    async def fetch(
        self,
        address: str,
        *,
        max_bytes: int = 1024 * 1024,
        max_redirects: int = 0,
        connect_seconds: float = 5,
        total_seconds: float = 20,
        accept: str = "*/*",
    ) -> Fetched:
        """GET `address`. Reads at most `max_bytes`; every redirect, if any is allowed, is checked like the first one.

        Raises `AddressRefused` (also for a redirect too many or from https to http) and `Unreachable`.
        """
        target = parse_target(address)
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        async with _bounded(total_seconds):
            for _ in range(max_redirects + 1):
                request = self.session().get(
                    target.url, allow_redirects=False, timeout=timeout, headers={"Accept": accept}
                )
                async with request as response:
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or location is None:
                        return await _read(response, target, max_bytes)
                    # The body of a redirect is not read: it could be endless.
                    response.close()
                    target = _next_hop(target, location)
        raise AddressRefused("The address redirects elsewhere, more often than is allowed.")

    async def post(
        self,
        address: str,
        *,
        content: bytes,
        headers: Mapping[str, str],
        max_bytes: int = 64 * 1024,
        connect_seconds: float = 5,
        total_seconds: float = 20,
    ) -> Fetched:
        """POST `content` to `address` on a connection of its own. Reads at most `max_bytes` of the response; a redirect
        is a response like others, and not followed. Raises `AddressRefused` and `Unreachable`.
        """
        target = parse_target(address)
        timeout = aiohttp.ClientTimeout(total=None, connect=connect_seconds)
        async with _bounded(total_seconds):
            # A fresh connection: on one that the server is just closing, nobody could say whether the content arrived.
            request = self.session(fresh=True).post(
                target.url, data=content, headers=dict(headers), allow_redirects=False, timeout=timeout
            )
            async with request as response:
                fetched = await _read(response, target, max_bytes)
        return fetched


@asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    """Raise `Unreachable` for what goes wrong in the block, and after `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Unreachable("The address did not answer in time.") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unreachable(f"The address could not be read ({type(error).__name__}).") from error


async def _read(response: aiohttp.ClientResponse, target: Target, max_bytes: int) -> Fetched:
    codings = response.headers.getall("Content-Encoding", ["identity"])
    if any(coding.strip().lower() not in {"", "identity"} for coding in codings):
        # None was requested; a compressed response could be a decompression bomb. Of two headers aiohttp goes by the
        # last one.
        response.close()
        raise Unreachable("The address answers in a compressed form that was not asked for.")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > max_bytes:
            response.close()
            break
    content_type, charset = parse_content_type(response.headers.get("Content-Type", ""))
    return Fetched(
        url=str(target.url),
        status=response.status,
        content_type=content_type,
        charset=charset,
        body=bytes(body[:max_bytes]),
        truncated=len(body) > max_bytes,
        retry_after=response.headers.get("Retry-After", ""),
    )


def _next_hop(current: Target, location: str) -> Target:
    try:
        next_target = parse_target(str(current.url.join(URL(location))))
    except ValueError:
        raise AddressRefused("The address redirects to something that is no address.") from None
    if current.scheme == "https" and next_target.scheme == "http":
        raise AddressRefused("The address redirects from https to http.")
    return next_target
