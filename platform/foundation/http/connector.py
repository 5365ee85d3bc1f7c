"""The connector of guarded clients: it resolves names once and connects to checked addresses only."""

from __future__ import annotations

import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from foundation.http.addresses import check_public, is_public_text
from foundation.http.errors import AddressRefused
from foundation.http.resolver import Resolver
from foundation.http.target import PUBLIC_PORTS, parse_origin

SocketFactory = Callable[[Any], socket.socket]


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to public hosts on ordinary ports, and to `allow`ed origins (`host:port`) wherever they are.

    It raises `AddressRefused` before the first packet. The number of connections is limited by the callers.
    """

    def __init__(
        self,
        *,
        allow: frozenset[str],
        resolver: Resolver,
        socket_factory: SocketFactory | None,
        keepalive_seconds: float | None,
    ) -> None:
        """Without `keepalive_seconds` no connection is kept."""
        kept = {"force_close": True} if keepalive_seconds is None else {"keepalive_timeout": keepalive_seconds}
        super().__init__(
            limit=0,
            resolver=_CheckingResolver(allow, resolver),
            ttl_dns_cache=30,
            socket_factory=socket_factory,
            **kept,
        )
        self._allow = allow

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Any],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - the parent's signature
    ) -> aiohttp.connector.Connection:
        host, port = req.url.raw_host or "", req.url.port or 0
        if parse_origin(host, port) in self._allow:
            return await super().connect(req, traces, timeout)
        if port not in PUBLIC_PORTS:
            raise AddressRefused("The port is not one of the web's.")
        if _is_literal(host):
            check_public(host)
        connection = await super().connect(req, traces, timeout)
        peer = connection.transport.get_extra_info("peername") if connection.transport else None
        if not peer or not is_public_text(str(peer[0])):
            connection.close()
            raise AddressRefused("The connection led to an address that is not on the public internet.")
        return connection


class _CheckingResolver(AbstractResolver):
    """Resolves through `resolver`, and rejects a name if any of its addresses is not public."""

    def __init__(self, allow: frozenset[str], resolver: Resolver) -> None:
        self._allow = allow
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = await self._resolver.resolve(host)
        if not addresses:
            raise OSError(f"{host} has no address")
        if parse_origin(host, port) not in self._allow:
            for address in addresses:
                check_public(address)
        results = [_result(host, port, address) for address in addresses]
        return [result for result in results if family in (socket.AF_UNSPEC, result["family"])]

    async def close(self) -> None:
        """Do nothing: there are no open resources."""


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
