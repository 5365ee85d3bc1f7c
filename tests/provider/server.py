"""A model provider for tests and benchmarks: OpenAI's chat completions over raw asyncio, with every fault we fear."""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import orjson

from tests.provider import anthropic, bedrock, embeddings, gemini
from tests.provider.refusals import ANSWERS, FLAKY
from tests.provider.script import Script, script_for
from tests.provider.streams import End, Stream, chunk, framed, stream_for, usage_of

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)
_NAMED = b"X-Request-Id: req-%d\r\n"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n" + _NAMED + b"%b\r\n"
)


class Face(Protocol):
    """How another vendor writes requests, refusals and streams."""

    def as_chat(self, path: str, body: dict[str, Any]) -> dict[str, Any]: ...

    def refusal(self, script: Script) -> tuple[int, dict[str, Any]] | None: ...

    def stream(self, model: str, script: Script) -> Stream: ...


_FACES: dict[bytes, Face] = {
    b"/messages": anthropic,
    b":streamGenerateContent": gemini,
    b"/converse-stream": bedrock,
}
_ASKED = (b"/chat/completions", b"/embeddings", *_FACES)


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    path: str
    headers: str
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object that was sent."""
        value: dict[str, Any] = orjson.loads(self.raw)
        return value


@dataclass
class RequestLimit:
    """So many requests in each window of time, which becomes whole at its end; further ones are answered with 429."""

    requests: int
    window_seconds: float
    used: int = 0
    refused: int = 0
    begun_at: float = 0.0

    def admit(self, now: float) -> bool:
        if now - self.begun_at >= self.window_seconds:
            self.begun_at, self.used = now, 0
        if self.used >= self.requests:
            self.refused += 1
            return False
        self.used += 1
        return True

    def headers(self, now: float) -> bytes:
        """As OpenAI writes them."""
        reset = max(0.0, self.begun_at + self.window_seconds - now)
        names = {"limit": str(self.requests), "remaining": str(self.requests - self.used), "reset": f"{reset:.3f}s"}
        return "".join(f"x-ratelimit-{name}-requests: {text}\r\n" for name, text in names.items()).encode()


@dataclass
class Provider:
    """The server and what it has seen. `defaults` apply to every answer, `queue` to one answer each, in order; `faults`
    counts those that came by chance.

    `check` makes it strict: what it raises for the body of a request is answered with 400, in its words.
    """

    check: Callable[[dict[str, Any]], None] | None = None
    # The settings for the body of a request, if it is a model with a will of its own.
    choose: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    queue: deque[dict[str, Any]] = field(default_factory=deque)
    # It counts requests then, and says so in its headers.
    limit: RequestLimit | None = None
    kept: int = 256
    count: int = 0
    faults: int = 0
    rng: random.Random = field(default_factory=random.Random)
    aborted: int = 0
    running: int = 0
    connections: int = 0
    base_url: str = ""

    def __post_init__(self) -> None:
        self.requests: deque[Request] = deque(maxlen=self.kept)
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._watchers: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), host, port, backlog=4096)
        taken = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://{host}:{taken}/v1"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for connection in list(self._open):
                connection.transport.abort()
            await self.until(lambda: not self._open)
            await self._server.wait_closed()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something to be true of this object; it is looked at whenever a request comes or goes."""
        if not condition():
            reached = asyncio.get_running_loop().create_future()
            self._watchers.append((condition, reached))
            await reached

    def changed(self) -> None:
        for condition, reached in self._watchers:
            if not reached.done() and condition():
                reached.set_result(None)
        self._watchers = [watcher for watcher in self._watchers if not watcher[1].done()]

    def more_headers(self) -> bytes:
        """What it says of its limit."""
        return self.limit.headers(asyncio.get_running_loop().time()) if self.limit is not None else b""

    def report(self) -> dict[str, Any]:
        """What `/_requests` answers. Bodies are the last ones only; `count` counts all."""
        bodies = [orjson.loads(request.raw) if request.raw else None for request in self.requests]
        return {
            "count": self.count,
            "faults": self.faults,
            "aborted": self.aborted,
            "running": self.running,
            "connections": self.connections,
            "bodies": bodies,
        }

    def reset(self) -> None:
        self.requests.clear()
        self.queue.clear()
        self.count = self.aborted = self.faults = 0


class _Connection(asyncio.Protocol):
    """One keep-alive connection: the next request is read when the last answer is out."""

    transport: asyncio.Transport

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.loop = asyncio.get_running_loop()
        self.received = b""
        self.busy = False
        self.timer: asyncio.Handle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.provider.connections += 1
        self.provider._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer:
            self.timer.cancel()
        self.provider._open.discard(self)
        self.provider.connections -= 1
        if self.busy:
            self.busy = False
            self.provider.running -= 1
            self.provider.aborted += 1
        self.provider.changed()

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if not self.busy:
            self._next_request()

    def _next_request(self) -> None:
        head, found, rest = self.received.partition(b"\r\n\r\n")
        if not found:
            return
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        raw, self.received = rest[:size], rest[size:]
        self.busy = True
        self.provider.running += 1
        line, _, headers = head.partition(b"\r\n")
        self._route(line.split(b" ")[1], headers, raw)

    def _route(self, path: bytes, headers: bytes, raw: bytes) -> None:
        bare = path.partition(b"?")[0]
        if bare.endswith(_ASKED):
            self.provider.count += 1
            self.provider.requests.append(Request(path.decode(), headers.decode("latin-1"), raw))
            self.provider.changed()
            if bare.endswith(b"/chat/completions"):
                self._chat(raw)
            elif bare.endswith(b"/embeddings"):
                self._embed(raw)
            else:
                [face] = [face for end, face in _FACES.items() if bare.endswith(end)]
                self._vendor(face, bare.decode(), raw)
        elif path == b"/_requests":
            self._reply(200, self.provider.report())
        elif path == b"/_reset":
            self.provider.reset()
            self._reply(200, {})
        elif path.endswith(b"/models"):
            self._reply(200, {"object": "list", "data": [{"id": "fake", "object": "model", "owned_by": "tests"}]})
        else:
            self._reply(404, {"error": {"message": "no such path", "type": "invalid_request_error", "code": None}})

    def _chat(self, raw: bytes) -> None:
        try:
            body = orjson.loads(raw)
            if words := self._strict_words(body):
                self._reply(400, {"error": {"message": words, "type": "invalid_request_error", "code": None}})
                return
            once = self.provider.queue.popleft() if self.provider.queue else {}
            own = self.provider.choose(body) if self.provider.choose is not None else {}
            script = self._weather(script_for(body, {**self.provider.defaults, **own, **once}))
        except (ValueError, TypeError, KeyError) as error:
            self._reply(400, {"error": {"message": str(error), "type": "invalid_request_error", "code": "unreadable"}})
            return
        if script.headers_ms:
            self._later(script.headers_ms / 1000, self._answer, body, script)
        else:
            self._answer(body, script)

    def _embed(self, raw: bytes) -> None:
        body = orjson.loads(raw)
        once = self.provider.queue.popleft() if self.provider.queue else {}
        fault = {**self.provider.defaults, **once}.get("fault", "")
        if fault in ANSWERS:
            self._refuse(Script(fault=fault))
        else:
            self._reply(200, embeddings.answer(body, fault))

    def _weather(self, script: Script) -> Script:
        """`script`, with a fault by chance where it is flaky."""
        if script.fault or not self.provider.rng.random() * 100 < script.flaky:
            return script
        self.provider.faults += 1
        return replace(script, fault=self.provider.rng.choice(FLAKY), after=self.provider.rng.randint(0, 5))

    def _vendor(self, face: Face, path: str, raw: bytes) -> None:
        """An answer with another vendor's face, by the same script."""
        body = orjson.loads(raw)
        if words := self._strict_words(body):
            _, refusal = face.refusal(Script(fault="400")) or (400, {})
            self._reply(400, _worded(refusal, words))
            return
        chat = face.as_chat(path, body)
        once = self.provider.queue.popleft() if self.provider.queue else {}
        script = script_for(chat, {**self.provider.defaults, **once})
        self._later(script.headers_ms / 1000, self._answer_as, face, str(chat["model"]), script)

    def _strict_words(self, body: dict[str, Any]) -> str:
        """Why a strict provider refuses this request; "" when it does not."""
        try:
            if self.provider.check is not None:
                self.provider.check(body)
        except Exception as refused:
            return str(refused) or type(refused).__name__
        return ""

    def _answer_as(self, face: Face, model: str, script: Script) -> None:
        if (refusal := face.refusal(script)) is not None:
            status, body = refusal
            retry_after = f"Retry-After: {script.retry_after}\r\n" if script.retry_after else ""
            self._reply(status, body, retry_after.encode())
        elif (known := ANSWERS.get(script.fault)) is not None and (known.error is None or known.status == 200):
            self._refuse(script)
        else:
            self._send(face.stream(model, script), script)

    def _answer(self, body: dict[str, Any], script: Script) -> None:
        model = str(body.get("model"))
        if self.provider.limit is not None and not self.provider.limit.admit(self.loop.time()):
            script = replace(script, fault="429")
        if script.fault in ANSWERS:
            self._refuse(script)
        elif not body.get("stream") or script.fault == "json200":
            self._reply(200, _completion(model, script))
        else:
            include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
            self._send(stream_for(model, script, include_usage), script)

    def _send(self, stream: Stream, script: Script) -> None:
        if script.ttft_ms or script.tps or script.fault == "split_bytes":
            self.transport.write(_STREAM_HEAD % (self.provider.count, self.provider.more_headers()))
            gap = 1 / script.tps if script.tps else 0.0
            self._later(script.ttft_ms / 1000, self._speak, stream, gap)
        else:
            self.transport.write(_STREAM_HEAD % (self.provider.count, self.provider.more_headers()) + stream.whole)
            self._end(stream.end)

    def _speak(self, stream: Stream, gap: float) -> None:
        if gap:
            self._say(stream, gap, self.loop.time(), 0)
        elif all(len(frame) == 1 for frame in stream.frames):
            self._drip(stream, 0)
        else:
            self.transport.write(stream.whole)
            self._end(stream.end)

    def _say(self, stream: Stream, gap: float, begun_at: float, spoken: int) -> None:
        """Token n is due n gaps after the first, by the clock: a late timer does not make the stream slower."""
        due = min(len(stream.frames), 2 + int((self.loop.time() - begun_at) / gap))
        if due > spoken:
            self.transport.write(b"".join(map(framed, stream.frames[spoken:due])))
        if due == len(stream.frames):
            if stream.tail:
                self.transport.write(framed(stream.tail))
            if stream.end == "keep":
                self.transport.write(b"0\r\n\r\n")
            self._end(stream.end)
        else:
            self.timer = self.loop.call_at(begun_at + (due - 1) * gap, self._say, stream, gap, begun_at, due)

    def _drip(self, stream: Stream, sent: int) -> None:
        """One byte per turn of the event loop, so that the reader gets them one by one."""
        if sent < len(stream.frames):
            self.transport.write(framed(stream.frames[sent]))
            self.timer = self.loop.call_soon(self._drip, stream, sent + 1)
        else:
            self.transport.write(b"0\r\n\r\n")
            self._end(stream.end)

    def _refuse(self, script: Script) -> None:
        answer = ANSWERS[script.fault]
        if answer.raw is not None:
            if answer.raw:
                self.transport.write(answer.raw)
            self._end(answer.end)
            return
        retry_after = f"Retry-After: {script.retry_after}\r\n" if script.retry_after else ""
        self._reply(answer.status, {"error": answer.error}, retry_after.encode())

    def _reply(self, status: int, value: Any, headers: bytes = b"") -> None:
        raw = orjson.dumps(value)
        headers += _NAMED % self.provider.count
        head = b"HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n"
        self.transport.write(head % (status, headers, len(raw)) + raw)
        self._end("keep")

    def _end(self, end: End) -> None:
        if end == "hold":
            return
        if end == "late":
            # The body ends well after its last event.
            self.timer = self.loop.call_later(0.01, self._end_body)
            return
        self.timer = None
        self.busy = False
        self.provider.running -= 1
        self.provider.changed()
        if end == "close":
            self.transport.close()
        elif end == "reset":
            self._reset()
        elif self.received:
            self.loop.call_soon(self._next_request)

    def _end_body(self) -> None:
        self.transport.write(b"0\r\n\r\n")
        self._end("keep")

    def _reset(self) -> None:
        """Close so that the other side sees a reset, not an end."""
        # What was written must leave first, or the reset overtakes it.
        raw = self.transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _later(self, seconds: float, call: Callable[..., None], *args: Any) -> None:
        if seconds > 0:
            self.timer = self.loop.call_later(seconds, call, *args)
        else:
            call(*args)


def _worded(refusal: dict[str, Any], words: str) -> dict[str, Any]:
    """A vendor's refusal with other words."""
    if "error" in refusal:
        return {**refusal, "error": {**refusal["error"], "message": words}}
    return {**refusal, "message": words}


def _completion(model: str, script: Script) -> dict[str, Any]:
    """The answer in one piece, for requests without `stream`."""
    message: dict[str, Any] = {"role": "assistant", "content": "".join(script.pieces())}
    finish = script.finish
    if script.calls:
        finish = "tool_calls"
        message["tool_calls"] = [
            {
                "id": f"call_{index}",
                "type": "function",
                "function": {"name": name, "arguments": text if isinstance(text, str) else orjson.dumps(text).decode()},
            }
            for index, (name, text) in enumerate(script.calls)
        ]
    whole = {**chunk(model, {}), "object": "chat.completion", "usage": usage_of(script)}
    return {**whole, "choices": [{"index": 0, "message": message, "finish_reason": finish}]}
