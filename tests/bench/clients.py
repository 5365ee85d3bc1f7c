"""Who plays the turns: a session over the websocket, and one over REST with server-sent events."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Protocol
from uuid import uuid4

import aiohttp
import orjson

TURN_SECONDS = 60.0


class TurnFailed(Exception):
    """A turn that did not end as it should; the message says how."""


@dataclass(frozen=True, slots=True)
class Played:
    """Milliseconds from sending the message until the first text, and until the end of the turn was received."""

    first_text: float
    total: float


class Client(Protocol):
    """One session of the person with this API key."""

    key: str

    async def open(self) -> None: ...

    async def turn(self, text: str) -> Played:
        """Play one turn. Raises `TurnFailed`, `TimeoutError` and `aiohttp.ClientError`."""
        ...

    async def close(self) -> None: ...


class _Answer:
    """What a client has heard of one turn: the deltas must add up to the answer."""

    def __init__(self, began: float) -> None:
        self._began = began
        self._first: float | None = None
        self._deltas: list[str] = []
        self._whole = ""

    def take(self, kind: str, data: dict[str, object]) -> Played | None:
        """One event; the times once the turn has ended."""
        if kind == "message.delta":
            self._first = self._first or self._elapsed()
            self._deltas.append(str(data["text"]))
        elif kind == "message.completed":
            self._whole = "".join(part["text"] for part in data["message"]["parts"])  # type: ignore[index]
        elif kind == "turn.completed":
            if self._first is None or "".join(self._deltas) != self._whole:
                raise TurnFailed(f"deltas of {sum(map(len, self._deltas))} characters, answer of {len(self._whole)}")
            return Played(self._first, self._elapsed())
        elif kind in ("turn.failed", "turn.cancelled", "turn.expired"):
            raise TurnFailed(f"{kind} {data}")
        return None

    def _elapsed(self) -> float:
        return (time.perf_counter() - self._began) * 1000


class SocketClient:
    """`bandstand.v1`: one socket for all turns of the session; tells the server what it has seen after each."""

    def __init__(self, http: aiohttp.ClientSession, base: str, session: str, key: str) -> None:
        self._http = http
        self.key = key
        self._url = f"{base}/ws/sessions/{session}/"
        self._headers = {"Authorization": f"Bearer {key}"}
        self._socket: aiohttp.ClientWebSocketResponse

    async def open(self) -> None:
        self._socket = await self._http.ws_connect(
            self._url, headers=self._headers, protocols=["bandstand.v1"], compress=0, max_msg_size=0
        )
        ready = orjson.loads(await self._socket.receive_str(timeout=TURN_SECONDS))
        if ready["type"] != "ready":
            raise TurnFailed(str(ready))
        await self._send({"type": "resume", "after": ready["seq"]})

    async def turn(self, text: str) -> Played:
        answer = _Answer(time.perf_counter())
        await self._send({"type": "message.create", "client_msg_id": str(uuid4()), "text": text})
        while True:
            frame = orjson.loads(await self._socket.receive_str(timeout=TURN_SECONDS))
            if frame["type"] == "event":
                if (played := answer.take(frame["event"], frame["data"])) is not None:
                    await self._send({"type": "seen", "seq": frame["seq"]})
                    return played
            elif frame["type"] != "ack":
                raise TurnFailed(str(frame))

    async def ping(self) -> float:
        """Milliseconds until a ping is answered."""
        began = time.perf_counter()
        await self._send({"type": "ping"})
        frame = orjson.loads(await self._socket.receive_str(timeout=TURN_SECONDS))
        if frame["type"] != "pong":
            raise TurnFailed(str(frame))
        return (time.perf_counter() - began) * 1000

    async def close(self) -> None:
        await self._socket.close()

    async def _send(self, frame: dict[str, object]) -> None:
        await self._socket.send_str(orjson.dumps(frame).decode())


_EVENT = re.compile(rb"event: ([a-z.]+)\ndata: (.*)\n\n")


class StreamClient:
    """REST: each turn is a request whose answer is the turn's events; connections are kept."""

    def __init__(self, http: aiohttp.ClientSession, base: str, session: str, key: str) -> None:
        self._http = http
        self.key = key
        self._url = f"{base}/api/v1/sessions/{session}/turns"
        self._headers = {
            "Authorization": f"Bearer {key}",
            "Accept": "text/event-stream",
            "Content-Type": "application/json",
        }

    async def open(self) -> None:
        """Nothing is open between the turns."""

    async def turn(self, text: str) -> Played:
        answer, rest = _Answer(time.perf_counter()), b""
        headers = {**self._headers, "Idempotency-Key": str(uuid4())}
        async with self._http.post(self._url, data=orjson.dumps({"input": text}), headers=headers) as response:
            if response.status != 202 and response.status != 200:
                raise TurnFailed(f"{response.status} {(await response.read())[:200]!r}")
            played = None
            async for chunk in response.content.iter_any():
                rest += chunk
                end = 0
                for event in _EVENT.finditer(rest):
                    played = answer.take(event[1].decode(), orjson.loads(event[2])["data"]) or played
                    end = event.end()
                rest = rest[end:]
        if played is None:
            raise TurnFailed(f"the stream ended early, after {rest[-200:]!r}")
        return played

    async def close(self) -> None:
        """Nothing is open between the turns."""
