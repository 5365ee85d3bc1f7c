"""A client that sends without end and reads nothing: the task that receives never waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from accounts.actor import Actor
from agents.http.revocation import RevocationWatch
from agents.ws.close_codes import CloseCode
from agents.ws.consumer import SessionSocket
from agents.ws.frames import MAX_FRAME_BYTES
from agents.ws.socket_limits import SocketLimits
from foundation.ids import new_id

FRAME = {"type": "websocket.receive", "text": '{"type":"ping"}'}
LARGE = {"type": "websocket.receive", "text": "x" * (MAX_FRAME_BYTES + 1)}


@pytest.mark.parametrize(
    ("frames", "code"), [([FRAME] * 50, CloseCode.RATE), ([LARGE, *[FRAME] * 50], CloseCode.TOO_LARGE)]
)
async def test_what_a_client_sends_is_taken_while_it_reads_nothing(
    frames: list[dict[str, Any]], code: CloseCode
) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)
        await asyncio.Event().wait()  # the client does not read

    socket = SessionSocket(limits=SocketLimits(pending_frames=5), watch=RevocationWatch())
    socket.actor, socket.session_id = Actor.user(user_id=1, name="ada"), new_id()
    socket.send = send
    async with asyncio.timeout(5):
        for frame in frames:
            await socket.websocket_receive(frame)
    await asyncio.sleep(0)
    assert sent == [{"type": "websocket.close", "code": int(code)}]
