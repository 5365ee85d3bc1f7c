"""Assigns an id to each request, and logs it when it ends."""

import time

import structlog

from bandstand.web.asgi_types import Application, Message, Receive, Scope, Send
from bandstand.web.request_counters import request_counters
from foundation.ids import new_id
from foundation.request_ids import bind_request_id, unbind_request_id

log = structlog.get_logger("bandstand.requests")
QUIET = frozenset({"/health", "/livez", "/metrics", "/ready", "/ready/self", "/readyz"})


class RequestIdMiddleware:
    """Assigns ids to requests (`X-Request-Id` in every response) and logs `http.answered`.

    Ids of clients are ignored, as they could refer to other requests.
    """

    def __init__(self, app: Application) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        request_id = new_id()
        token = bind_request_id(request_id)
        recorder = _ResponseRecorder(send, (b"x-request-id", str(request_id).encode()))
        start = time.perf_counter()
        request_counters.begin(scope["type"])
        try:
            with structlog.contextvars.bound_contextvars(request_id=str(request_id)):
                await self.app(scope, receive, recorder.send)
                if scope["type"] == "http" and scope["path"] not in QUIET:
                    _log(scope, recorder.status, time.perf_counter() - start)
        finally:
            unbind_request_id(token)
            seconds = (recorder.started_at or time.perf_counter()) - start
            request_counters.end(scope["type"], status=recorder.status, seconds=seconds)


class _ResponseRecorder:
    def __init__(self, send: Send, header: tuple[bytes, bytes]) -> None:
        self._send = send
        self._header = header
        self.status = 0
        self.started_at: float | None = None

    async def send(self, message: Message) -> None:
        if message["type"] in {"http.response.start", "websocket.accept"}:
            self.status = message.get("status", 101)
            self.started_at = time.perf_counter()
            message = {**message, "headers": [*message.get("headers", []), self._header]}
        await self._send(message)


def _log(scope: Scope, status: int, seconds: float) -> None:
    client = scope.get("client")
    # Without the query string, which may contain search terms.
    log.info(
        "http.answered",
        method=scope["method"],
        path=scope["path"],
        status=status,
        milliseconds=round(seconds * 1000, 1),
        client=client[0] if client else None,
    )
