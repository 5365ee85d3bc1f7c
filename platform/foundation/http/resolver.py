"""Names to addresses, behind a port so that tests can play the attacker's name server."""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol


class Resolver(Protocol):
    async def resolve(self, host: str) -> list[str]:
        """The IP addresses of `host`, best first. Raises `OSError` when there are none."""
        ...


class SystemResolver:
    """The resolver of the operating system."""

    async def resolve(self, host: str) -> list[str]:
        results = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in results))
