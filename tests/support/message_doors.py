"""The ways in which a program sends a message: REST, a websocket and `/v1`, on a real web process."""

from __future__ import annotations

import json
from collections.abc import Mapping

import aiohttp
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

ACCEPTED, REFUSED = "accepted", "refused"


class Doors:
    """The ways into one web process, for one user."""

    def __init__(self, port: int, *, key: str, session_id: str) -> None:
        self._address = f"127.0.0.1:{port}"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._session_id = session_id

    async def send(self, number: int) -> str:
        """Send a message; its number says which way. `ACCEPTED`, or `REFUSED` for the rate; AssertionError for anything
        else. Over `/v1` the answer comes when the turn has ended, whatever way."""
        ways = (self._send_by_rest, self._send_by_websocket, self._send_by_v1)
        return await ways[number % len(ways)](f"Message {number}")

    async def _send_by_rest(self, text: str) -> str:
        return await self._post(f"/api/v1/sessions/{self._session_id}/turns", {"input": text}, {202})

    async def _send_by_v1(self, text: str) -> str:
        body = {"model": "demo", "messages": [{"role": "user", "content": text}]}
        # 409: somebody has cancelled its turn.
        return await self._post("/v1/chat/completions", body, {200, 409})

    async def _post(self, path: str, body: Mapping[str, object], accepted: set[int]) -> str:
        async with (
            aiohttp.ClientSession(headers=self._headers) as client,
            client.post(f"http://{self._address}{path}", json=body) as answer,
        ):
            text = await answer.text()
            if answer.status in accepted:
                return ACCEPTED
            assert answer.status == 429, (answer.status, text)
            assert "rate_limited" in text, text
            assert 1 <= int(answer.headers["Retry-After"]) <= 360
            return REFUSED

    async def _send_by_websocket(self, text: str) -> str:
        async with connect(
            f"ws://{self._address}/ws/sessions/{self._session_id}/",
            proxy=None,
            close_timeout=2,
            open_timeout=60,
            max_size=None,
            additional_headers=self._headers,
            subprotocols=[Subprotocol("bandstand.v1")],
        ) as ws:
            await ws.send(json.dumps({"type": "message.create", "text": text, "client_msg_id": text.replace(" ", "-")}))
            async for line in ws:
                frame = json.loads(line)
                if frame["type"] == "ack":
                    return ACCEPTED
                if frame["type"] == "error":
                    assert frame["code"] == "rate_limited", frame
                    assert 1_000 <= frame["retry_after_ms"] <= 360_000
                    return REFUSED
        raise AssertionError("The websocket was closed.")
