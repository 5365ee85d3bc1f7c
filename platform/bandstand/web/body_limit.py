"""Bodies of requests are counted before anything reads them: Django would write a large one to disk first."""

import structlog

from bandstand.web.asgi_types import Application, Message, Receive, Scope, Send
from bandstand.web.error_responses import ErrorResponse
from foundation.ids import new_id
from foundation.request_ids import current_request_id

log = structlog.get_logger("bandstand.web")

MAX_BODY_BYTES = 1024 * 1024
TOO_LARGE = ErrorResponse(413, "too_large", f"A request body may have at most {MAX_BODY_BYTES} bytes.")


class _TooLarge(Exception):
    """The body went past the limit while the application read it."""


class BodyLimitMiddleware:
    """Refuses bodies over `max_bytes` with 413, by their announced length or, without one, by counting."""

    def __init__(self, app: Application, max_bytes: int = MAX_BODY_BYTES) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif self._announced(scope) > self.max_bytes:
            await _refuse(scope, send)
        else:
            await self._counted(scope, receive, send)

    def _announced(self, scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length":
                return int(value) if value.isdigit() else 0
        return 0

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        size, started, refused = 0, False, False

        async def counted_receive() -> Message:
            nonlocal size, refused
            message = await receive()
            size += len(message.get("body", b""))
            if size > self.max_bytes:
                refused = True
                raise _TooLarge
            return message

        async def tracked_send(message: Message) -> None:
            nonlocal started
            if not refused:  # whatever the application makes of the broken body, the answer is ours
                started = True
                await send(message)

        try:
            await self.app(scope, counted_receive, tracked_send)
        except _TooLarge:
            refused = True
        if refused and not started:
            await _refuse(scope, send)


async def _refuse(scope: Scope, send: Send) -> None:
    client = scope.get("client")
    log.warning(
        "request.refused",
        rule="body_size",
        status=TOO_LARGE.status,
        actor=None,  # nobody has asked yet who this is
        client=client[0] if client else None,
        method=scope["method"],
        path=scope["path"],
    )
    content = TOO_LARGE.content(scope["path"], current_request_id() or new_id())
    headers = TOO_LARGE.headers(scope["path"], content)
    await send({"type": "http.response.start", "status": TOO_LARGE.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
