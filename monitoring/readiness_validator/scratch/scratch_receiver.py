"""A webhook's receiver on the loopback interface."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from monitoring.readiness_validator.scratch.scratch_provider import read_request, response

_SIGNATURE: Final = b"webhook-signature:"


class ScratchReceiver:
    """Keeps the bodies of signed requests. Unless it `answers`, each request gets a 503 and is not kept."""

    def __init__(self, *, answers: bool) -> None:
        self.bodies: list[bytes] = []
        self.port = 0
        self._answers = answers

    @property
    def origin(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            head, body = await read_request(reader)
            if self._answers and _SIGNATURE in head.lower():
                self.bodies.append(body)
                writer.write(response(b"200 OK", b"text/plain", b"ok"))
            else:
                writer.write(response(b"503 Service Unavailable", b"text/plain", b"out of order"))
            await writer.drain()
        writer.close()


@asynccontextmanager
async def scratch_receiver(*, answers: bool) -> AsyncIterator[ScratchReceiver]:
    """A receiver that listens on a free port until the block ends."""
    receiver = ScratchReceiver(answers=answers)
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
