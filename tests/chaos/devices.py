"""Devices of people: they ask, insist until they are acknowledged, and read what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.chaos.ledger import Ledger
from tests.chaos.questions import Question, ask
from tests.chaos.reader import Reader

ACK_SECONDS = 4.0
RECONNECT_SECONDS = 0.1
OPEN_TURNS = 3
THINK_SECONDS = 1.5  # at most, between two messages of a person
SEEN_EVERY = 50
LONGEST_LINE = 16 * 1024 * 1024
HANG_UP, STOP = 0.03, 0.04  # of all messages: not waited for; stopped by their author

_LOST = (OSError, WebSocketException, aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError)


@dataclass(frozen=True, slots=True)
class Account:
    """Where a device speaks, and with which key."""

    port: int
    session: str
    key: str


@dataclass(slots=True)
class Tally:
    """What all devices of a pass did together. `refusals` are answers that no client should get."""

    asked: int = 0
    acknowledged: int = 0
    repeated: int = 0
    hung_up: int = 0
    stopped: int = 0
    reconnected: int = 0
    refusals: list[str] = field(default_factory=list)


class Device(ABC):
    """One device on one session. `run` ends when `enough` is set and everything sent is acknowledged."""

    may_interrupt = False

    def __init__(
        self,
        account: Account,
        *,
        ledger: Ledger,
        tally: Tally,
        enough: asyncio.Event,
        rng: random.Random,
        slow: bool,
    ) -> None:
        self.account = account
        self.reader = Reader()
        self.unacknowledged: Question | None = None
        self._ledger = ledger
        self._tally = tally
        self._enough = enough
        self._rng = rng
        self._slow = slow
        self._progress = asyncio.Event()
        self.quit = asyncio.Event()

    async def run(self) -> None:
        """Speak and listen until told to quit."""
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen_always())
            talking = group.create_task(self._talk_always())
            await self.quit.wait()
            talking.cancel()
            listening.cancel()

    @property
    def settled(self) -> bool:
        """Whether nothing it sent waits for an acknowledgement."""
        return self.unacknowledged is None

    async def _talk_always(self) -> None:
        while not self._enough.is_set():
            await self._room()
            if self._enough.is_set():
                return
            question = self.unacknowledged = ask(self._rng, interrupts=self.may_interrupt, slow=self._slow)
            self._tally.asked += 1
            await self._ledger.sent(session=self.account.session, question=question)
            turn = await self._insist(question)
            await self._ledger.acked(session=self.account.session, key=question.key, turn=turn)
            self.unacknowledged = None
            self._tally.acknowledged += 1
            if self._rng.random() < STOP:
                await self.stop(turn)
            await asyncio.sleep(self._rng.uniform(0, THINK_SECONDS))

    async def _insist(self, question: Question) -> str:
        """Send until acknowledged, always with the same key; the turn's id."""
        while True:
            try:
                if self._rng.random() < HANG_UP:
                    self._tally.hung_up += 1
                    await self._send_and_hang_up(question)
                return await self._send(question)
            except _LOST:
                self._tally.repeated += 1
                await asyncio.sleep(RECONNECT_SECONDS)

    async def stop(self, turn: str) -> None:
        """Ask for a stop of one turn; a failure to ask is of no consequence."""
        self._tally.stopped += 1
        await self._ledger.stop(session=self.account.session, turn=turn)
        with contextlib.suppress(*_LOST):
            await self._send_stop(turn)

    async def _listen_always(self) -> None:
        while True:
            with contextlib.suppress(*_LOST):
                await self._listen()
            self._tally.reconnected += 1
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _room(self) -> None:
        """Wait until few enough turns of the session are open (or until nothing more may be asked)."""
        while self.reader.open >= OPEN_TURNS and not self._enough.is_set():
            self._progress.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._progress.wait(), 1)

    def _heard(self, frame: Mapping[str, Any]) -> None:
        if frame["type"] == "event":
            self.reader.event(frame)
        else:
            self.reader.resync(frame)
        self._progress.set()

    def _refused(self, what: str) -> None:
        self._tally.refusals.append(f"{self.account.session}: {what}")

    @abstractmethod
    async def _send(self, question: Question) -> str: ...

    @abstractmethod
    async def _send_and_hang_up(self, question: Question) -> None: ...

    @abstractmethod
    async def _send_stop(self, turn: str) -> None: ...

    @abstractmethod
    async def _listen(self) -> None: ...


class SocketDevice(Device):
    """Speaks `bandstand.v1` over one websocket, resuming after what it has seen."""

    def __init__(self, account: Account, **parts: Any) -> None:
        super().__init__(account, **parts)
        self._socket: ClientConnection | None = None
        self._connected = asyncio.Event()
        self._answers: dict[str, asyncio.Future[dict[str, Any]]] = {}

    async def _listen(self) -> None:
        address = f"ws://127.0.0.1:{self.account.port}/ws/sessions/{self.account.session}/"
        headers = {"Authorization": f"Bearer {self.account.key}"}
        async with connect(
            address,
            additional_headers=headers,
            subprotocols=[Subprotocol("bandstand.v1")],
            compression=None,
            proxy=None,
            open_timeout=5,
            close_timeout=0.2,
            ping_interval=5,
            ping_timeout=10,
            max_size=LONGEST_LINE,
        ) as socket:
            try:
                await self._receive(socket)
            finally:
                self._socket = None
                self._connected.clear()
                for answer in self._answers.values():
                    if not answer.done():
                        answer.set_exception(ConnectionResetError("the socket is gone"))

    async def _receive(self, socket: ClientConnection) -> None:
        ready = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if ready["type"] != "ready":
            raise ConnectionResetError(f"not ready: {ready}")
        await socket.send(json.dumps({"type": "resume", "after": self.reader.seq}))
        self._socket = socket
        self._connected.set()
        heard = 0
        async for text in socket:
            frame = json.loads(text)
            if frame["type"] in ("event", "resync"):
                self._heard(frame)
                heard += 1
                if heard % SEEN_EVERY == 0:
                    await socket.send(json.dumps({"type": "seen", "seq": self.reader.seq}))
            else:
                self._answered(frame)

    def _answered(self, frame: dict[str, Any]) -> None:
        ref = frame.get("client_msg_id") or frame.get("ref") or frame.get("turn")
        answer = self._answers.get(ref) if ref else None
        if answer is not None and not answer.done():
            answer.set_result(frame)

    async def _request(self, frame: dict[str, Any], ref: str) -> dict[str, Any]:
        await asyncio.wait_for(self._connected.wait(), ACK_SECONDS)
        socket, answer = self._socket, asyncio.get_running_loop().create_future()
        if socket is None:
            raise ConnectionResetError("the socket is gone")
        self._answers[ref] = answer
        try:
            await socket.send(json.dumps(frame))
            async with asyncio.timeout(ACK_SECONDS):
                found: dict[str, Any] = await answer
                return found
        except TimeoutError:
            socket.transport.abort()  # a device that hears nothing dials again
            raise
        finally:
            if self._answers.get(ref) is answer:  # somebody else may have asked to stop the same turn
                del self._answers[ref]
            if answer.done() and not answer.cancelled():
                answer.exception()

    def _frame(self, question: Question) -> dict[str, Any]:
        return {"type": "message.create", "client_msg_id": question.key, "text": question.text}

    async def _send(self, question: Question) -> str:
        frame = await self._request(self._frame(question), question.key)
        if frame["type"] == "ack":
            return str(frame["turn"])
        if not frame["retryable"]:
            self._refused(f"{frame['code']}: {frame['detail']}")
        raise ConnectionResetError(frame["code"])

    async def _send_and_hang_up(self, question: Question) -> None:
        await asyncio.wait_for(self._connected.wait(), ACK_SECONDS)
        if (socket := self._socket) is not None:
            await socket.send(json.dumps(self._frame(question)))
            self._connected.clear()
            socket.transport.abort()

    async def _send_stop(self, turn: str) -> None:
        await self._request({"type": "turn.cancel", "turn": turn}, turn)


class RestDevice(Device):
    """Speaks REST, and listens to server-sent events. Only REST has a way to interrupt the turns before."""

    may_interrupt = True

    def __init__(self, account: Account, **parts: Any) -> None:
        super().__init__(account, **parts)
        self._base = f"http://127.0.0.1:{account.port}/api/v1"
        self._headers = {"Authorization": f"Bearer {account.key}"}

    async def _send(self, question: Question) -> str:
        headers = {"Idempotency-Key": question.key}
        turn = await self._post(f"/sessions/{self.account.session}/turns", _body(question), headers)
        return str(turn["id"])

    async def _post(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=ACK_SECONDS)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=self._headers) as http,
            http.post(self._base + path, json=body, headers=headers) as answer,
        ):
            text = await answer.text()
            if answer.status in (200, 202):
                found: dict[str, Any] = json.loads(text)
                return found
            if answer.status not in (409, 429) and answer.status < 500:
                self._refused(f"{answer.status} {text[:200]}")
            raise ConnectionResetError(f"status {answer.status}")

    async def _send_and_hang_up(self, question: Question) -> None:
        body = json.dumps(_body(question)).encode()
        head = (
            f"POST /api/v1/sessions/{self.account.session}/turns HTTP/1.1\r\nHost: 127.0.0.1:{self.account.port}\r\n"
            f"Authorization: Bearer {self.account.key}\r\nIdempotency-Key: {question.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        _, writer = await asyncio.open_connection("127.0.0.1", self.account.port)
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    async def _send_stop(self, turn: str) -> None:
        await self._post(f"/turns/{turn}/cancel", {}, {})

    async def _listen(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=20)
        headers = {**self._headers, "Accept": "text/event-stream"}
        address = f"{self._base}/sessions/{self.account.session}/events?after={self.reader.seq}"
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers, read_bufsize=LONGEST_LINE) as http,
            http.get(address) as answer,
        ):
            if answer.status != 200:
                raise ConnectionResetError(f"status {answer.status}")
            async for line in answer.content:
                if not line.startswith(b"data: "):
                    continue
                frame = json.loads(line[6:])
                if frame["type"] == "error":  # the last word of a stream that ends before its time
                    if not frame["retryable"]:
                        self._refused(f"stream {frame}")
                    raise ConnectionResetError(frame["code"])
                self._heard(frame)


def _body(question: Question) -> dict[str, str]:
    return {"input": question.text} | ({"when_busy": "interrupt"} if question.interrupts else {})
