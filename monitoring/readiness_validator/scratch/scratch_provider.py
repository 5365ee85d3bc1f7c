"""A model server on the loopback interface that fails for as long as a trial wants it to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

MODEL: Final = "readiness-scratch"
_HEAD_LIMIT: Final = 64 * 1024


class ScratchProvider:
    """Speaks enough of the OpenAI API for one streamed answer. While `fails`, each request gets a 503."""

    def __init__(self) -> None:
        self.fails = False
        self.requests = 0
        self.port = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request, and close the connection."""
        with suppress(ConnectionError, asyncio.IncompleteReadError, ValueError):
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                (
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            await reader.readexactly(length)
            self.requests += 1
            writer.write(_failure() if self.fails else _answer())
            await writer.drain()
        writer.close()


@asynccontextmanager
async def scratch_provider() -> AsyncIterator[ScratchProvider]:
    """A provider that listens on a free port until the block ends."""
    provider = ScratchProvider()
    server = await asyncio.start_server(provider.handle, "127.0.0.1", 0, limit=_HEAD_LIMIT)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request, which says how long its body is. Raises `IncompleteReadError`,
    `ValueError`."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:")), 0)
    return head, await reader.readexactly(length)


def response(status: bytes, kind: bytes, body: bytes) -> bytes:
    """A whole response, after which the connection is closed."""
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, kind, len(body)) + body


def _failure() -> bytes:
    return response(b"503 Service Unavailable", b"application/json", b'{"error": {"message": "out of order"}}')


def _answer() -> bytes:
    chunks = [
        _chunk({"role": "assistant", "content": "Ready."}),
        _chunk({}, finish_reason="stop", usage={"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}),
    ]
    body = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    return response(b"200 OK", b"text/event-stream", body)


def _chunk(delta: dict[str, Any], *, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {
        "id": "scratch",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": MODEL,
        "choices": [choice],
        **more,
    }
