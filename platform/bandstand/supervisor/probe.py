"""HTTP requests to the local web process."""

import asyncio
import json
from contextlib import suppress
from typing import Any


async def get(host: str, port: int, path: str, *, seconds: float = 5.0) -> tuple[int, dict[str, Any]] | None:
    """Return status and JSON body of one GET, or None without a response within `seconds`."""
    with suppress(OSError, TimeoutError, ValueError, IndexError):
        return await asyncio.wait_for(_get(host, port, path), seconds)
    return None


async def _get(host: str, port: int, path: str) -> tuple[int, dict[str, Any]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        # HTTP/1.0: no chunks, and the response ends with the connection.
        writer.write(f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode("ascii"))
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), json.loads(body)
    finally:
        writer.close()
