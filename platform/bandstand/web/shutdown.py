"""The graceful shutdown of a web process: responses in progress are finished, and no client is left waiting."""

import asyncio
from typing import Any, Final, TypeAlias, cast

from bandstand.web.error_responses import ErrorResponse
from bandstand.web.http_protocol import Request
from bandstand.web.websocket_protocol import Socket

# Daphne's state of each connection.
Connections: TypeAlias = dict[Any, dict[str, Any]]

DRAIN_SECONDS: Final = 5.0
ARRIVAL_SECONDS: Final = 0.1
STREAM_DRAIN_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.02
SERVICE_RESTART: Final = 1012
STOPPING = ErrorResponse(503, "server_stops", "This server is restarting; ask again.", retry_after_seconds=1)


def close_sockets(connections: Connections) -> None:
    """Close every websocket with 1012 (service restart), so that its client reconnects to another process."""
    for protocol in list(connections):
        if isinstance(protocol, Socket):
            if protocol.state == protocol.STATE_OPEN:
                protocol.serverClose(SERVICE_RESTART)
            elif protocol.state == protocol.STATE_CONNECTING:
                protocol.abort()


async def drain(connections: Connections) -> None:
    """Wait until all responses have ended, then cut off those that have not.

    Streams have been asked to end before; one that does not, because its client does not read, is cut off sooner than
    a plain response, because it can be resumed elsewhere.
    """
    # Requests on connections accepted a moment ago are still arriving.
    await asyncio.sleep(ARRIVAL_SECONDS)
    clock = asyncio.get_running_loop().time
    start = clock()
    while unfinished := _unfinished(connections):
        for protocol in unfinished:
            if connections[protocol].get("disconnected"):
                _task(connections, protocol).cancel()  # its client has gone
        elapsed = clock() - start
        if elapsed > DRAIN_SECONDS:
            await _cut_off(connections, unfinished)
            return
        if elapsed > STREAM_DRAIN_SECONDS:
            await _cut_off(connections, [protocol for protocol in unfinished if not _can_refuse(protocol)])
        await asyncio.sleep(POLL_SECONDS)


def _unfinished(connections: Connections) -> list[Any]:
    return [
        protocol
        for protocol, details in connections.items()
        if (task := details.get("application_instance")) is not None and not task.done()
    ]


def _can_refuse(protocol: Any) -> bool:
    """Whether no response has begun, so that an error response can be sent."""
    return isinstance(protocol, Request) and not protocol._response_started


async def _cut_off(connections: Connections, protocols: list[Any]) -> None:
    tasks = []
    for protocol in protocols:
        task = _task(connections, protocol)
        task.cancel()
        tasks.append(task)
        if _can_refuse(protocol):
            protocol.refuse(STOPPING)
        else:
            protocol.abort()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


def _task(connections: Connections, protocol: Any) -> "asyncio.Future[None]":
    return cast("asyncio.Future[None]", connections[protocol]["application_instance"])
