"""The client's address and scheme behind trusted proxies."""

import ipaddress
from collections.abc import Sequence

from bandstand.config import IPNetwork
from bandstand.web.asgi_types import Application, Receive, Scope, Send

FORWARDING = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-proto", b"x-real-ip"}
)


class ProxyHeadersMiddleware:
    """Sets the client's address and scheme in the scope from the forwarding headers of trusted proxies.

    The headers are then removed; from other clients they are ignored. `scope["forwarded"]` says whether there were any,
    `scope["forwarded_proto"]` whether one named the scheme, and `scope["proxy"]` is the address of the trusted proxy.
    """

    def __init__(self, app: Application, trusted: Sequence[IPNetwork]) -> None:
        self.app = app
        self.trusted = tuple(trusted)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"}:
            scope = self._resolved(scope)
        await self.app(scope, receive, send)

    def _resolved(self, scope: Scope) -> Scope:
        forwarding = {name: value for name, value in scope["headers"] if name in FORWARDING}
        scope["forwarded"] = bool(forwarding)
        scope["forwarded_proto"] = b"x-forwarded-proto" in forwarding
        client = scope.get("client")
        scope["proxy"] = client[0] if client and self._trusts(client[0]) else None
        if not forwarding:
            return scope
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in FORWARDING]
        if client and scope["proxy"]:
            scope["client"] = self._origin(forwarding.get(b"x-forwarded-for", b""), client)
            if forwarding.get(b"x-forwarded-proto", b"").rpartition(b",")[2].strip() == b"https":
                scope["scheme"] = "https" if scope["type"] == "http" else "wss"
        return scope

    def _origin(self, forwarded_for: bytes, client: Sequence[str | int]) -> Sequence[str | int]:
        # From right to left: each proxy appends its client, and only trusted proxies are believed.
        for word in reversed(forwarded_for.decode("latin1").split(",")):
            address = word.strip()
            if not _is_address(address):
                break
            client = [address, 0]
            if not self._trusts(address):
                break
        return client

    def _trusts(self, address: str) -> bool:
        if not _is_address(address):
            return False
        parsed = ipaddress.ip_address(address)
        parsed = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(parsed in network for network in self.trusted if network.version == parsed.version)


def _is_address(word: str) -> bool:
    try:
        ipaddress.ip_address(word)
    except ValueError:
        return False
    return True
