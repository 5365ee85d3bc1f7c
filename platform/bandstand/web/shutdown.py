"""The end of a web process, as its clients see it: what is being answered is finished, and nobody is left to wait."""

import asyncio
from typing import Any, Final, TypeAlias, cast

from bandstand.web.error_responses import ErrorResponse
from bandstand.web.http_protocol import Request
from bandstand.web.websocket_protocol import Socket

# Daphne's: what it knows of each connection.
Connections: TypeAlias = dict[Any, dict[str, Any]]

DRAIN_SECONDS: Final = 5.0
ARRIVAL_SECONDS: Final = 0.1
STREAM_DRAIN_SECONDS: Final = 1.0
LOOK_SECONDS: Final = 0.02
SERVICE_RESTART: Final = 1012
STOPPING = ErrorResponse(503, "server_stops", "This server is restarting; ask again.", retry_after_seconds=1)


def close_sockets(connections: Connections) -> None:
    """Say goodbye to every websocket: its client comes back to a process that goes on."""
    for protocol in list(connections):
        if isinstance(protocol, Socket):
            if protocol.state == protocol.STATE_OPEN:
                protocol.serverClose(SERVICE_RESTART)
            elif protocol.state == protocol.STATE_CONNECTING:
                protocol.abort()


async def drain(connections: Connections) -> None:
    """Let what is being answered finish.

    Streams were told to end. One that does not, because its client does not read, is broken off sooner than a plain
    answer: it can be taken up again elsewhere.
    """
    # Requests whose connection was accepted a moment ago are still on their way in.
    await asyncio.sleep(ARRIVAL_SECONDS)
    clock = asyncio.get_running_loop().time
    began = clock()
    while unfinished := _unfinished(connections):
        for protocol in unfinished:
            if connections[protocol].get("disconnected"):
                _task(connections, protocol).cancel()  # nobody hears its answer
        waited = clock() - began
        if waited > DRAIN_SECONDS:
            await _cut(connections, unfinished)
            return
        if waited > STREAM_DRAIN_SECONDS:
            await _cut(connections, [protocol for protocol in unfinished if not _refusable(protocol)])
        await asyncio.sleep(LOOK_SECONDS)


def _unfinished(connections: Connections) -> list[Any]:
    return [
        protocol
        for protocol, details in connections.items()
        if (task := details.get("application_instance")) is not None and not task.done()
    ]


def _refusable(protocol: Any) -> bool:
    """Whether nothing was answered yet."""
    return isinstance(protocol, Request) and not protocol._response_started


async def _cut(connections: Connections, protocols: list[Any]) -> None:
    tasks = []
    for protocol in protocols:
        task = _task(connections, protocol)
        task.cancel()
        tasks.append(task)
        if _refusable(protocol):
            protocol.refuse(STOPPING)
        else:
            protocol.abort()
    if tasks:
        await asyncio.wait(tasks, timeout=1.0)


def _task(connections: Connections, protocol: Any) -> "asyncio.Future[None]":
    return cast("asyncio.Future[None]", connections[protocol]["application_instance"])
