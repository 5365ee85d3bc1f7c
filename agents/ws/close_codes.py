"""Close codes. A refused socket is accepted before it is closed: without that no browser reports the code."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from agents.ws.frames import SUBPROTOCOL


class CloseCode(IntEnum):
    """The codes with which the server closes a websocket."""

    OUR_FAULT = 1011
    RESTART = 1012
    OVERLOAD = 1013
    PROTOCOL = 4400
    UNAUTHENTICATED = 4401
    FORBIDDEN = 4403
    UNKNOWN_SESSION = 4404
    SLOW_CLIENT = 4408
    TOO_LARGE = 4413
    RATE = 4429


async def accept_and_close(scope: dict[str, Any], receive: Any, send: Any, code: CloseCode, *first: str) -> None:
    """Accept the socket, send the text frames `first`, close with `code`, and wait until the client disconnects."""
    message = await receive()
    if message["type"] != "websocket.connect":
        return
    offered = scope.get("subprotocols") or []
    await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if SUBPROTOCOL in offered else None})
    for text in first:
        await send({"type": "websocket.send", "text": text})
    await send({"type": "websocket.close", "code": int(code)})
    while message["type"] != "websocket.disconnect":
        message = await receive()


class CloseEverySocket:
    """An ASGI application that closes every socket with `code`: for addresses that do not exist."""

    def __init__(self, code: CloseCode) -> None:
        self.code = code

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await accept_and_close(scope, receive, send, self.code)
