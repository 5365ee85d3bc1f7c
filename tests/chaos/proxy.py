"""A balancer in front of the web processes that can swallow an acknowledgement after its commit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

_ACKNOWLEDGED = (b"HTTP/1.1 202", b'"type":"ack"')
_CHUNK = 64 * 1024


@dataclass(eq=False, slots=True)
class _Link:
    """One connection through the proxy. `asked`: the client sent something that was not answered yet."""

    port: int
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    asked: bool = False

    def cut(self) -> None:
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """Listens on `port`, passes each connection to the next of `upstreams` that takes it."""

    def __init__(self, upstreams: Sequence[int]) -> None:
        self.port = 0
        self.dropped = 0
        self._upstreams = list(upstreams)
        self._next = 0
        self._to_drop = 0
        self._links: set[_Link] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for link in list(self._links):
            link.cut()

    def drop_next(self) -> None:
        """Swallow the next acknowledgement and cut its connection."""
        self._to_drop += 1

    def asking(self, port: int) -> int:
        """How many requests wait for an answer from this web process."""
        return sum(link.asked for link in self._links if link.port == port)

    def cut_some(self, count: int) -> int:
        """Cut up to `count` connections as they are; how many."""
        chosen = list(self._links)[:count]
        for link in chosen:
            link.cut()
        return len(chosen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = await self._connect()
        if upstream is None:
            writer.transport.abort()
            return
        port, server_reader, server_writer = upstream
        link = _Link(port, writer, server_writer)
        self._links.add(link)
        pumps = [asyncio.ensure_future(self._up(reader, link)), asyncio.ensure_future(self._down(server_reader, link))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._links.discard(link)
            link.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _connect(self) -> tuple[int, asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._upstreams:
            port = self._upstreams[self._next % len(self._upstreams)]
            self._next += 1
            with contextlib.suppress(OSError):
                return port, *await asyncio.open_connection("127.0.0.1", port)
        return None

    async def _up(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while data := await reader.read(_CHUNK):
            link.asked = True
            link.server.write(data)
            await link.server.drain()

    async def _down(self, reader: asyncio.StreamReader, link: _Link) -> None:
        while data := await reader.read(_CHUNK):
            link.asked = False
            if self._to_drop and any(mark in data for mark in _ACKNOWLEDGED):
                self._to_drop -= 1
                self.dropped += 1
                return
            link.client.write(data)
            await link.client.drain()
        # The answer may still be on its way out.
        link.client.close()
        with contextlib.suppress(OSError):
            await link.client.wait_closed()
