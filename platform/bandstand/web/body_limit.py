"""Limits the size of request bodies before Django, which would write a large one to disk first."""

import structlog

from bandstand.web.asgi_types import Application, Message, Receive, Scope, Send
from bandstand.web.error_responses import ErrorResponse
from foundation.ids import new_id
from foundation.request_ids import current_request_id

log = structlog.get_logger("bandstand.web")

MAX_BODY_BYTES = 1024 * 1024
# Clients of chat completions send their whole conversation each time.
COMPLETIONS_PATH = "/v1/chat/completions"
# Unless a setting says less or more, and the most that it may say: the server itself buffers so much.
COMPLETION_BYTES = 4 * 1024 * 1024
MAX_COMPLETION_BYTES = 8 * 1024 * 1024


class _TooLarge(Exception):
    """The body went past the limit while the application read it."""


def _refusal(path: str, max_bytes: int) -> ErrorResponse:
    if path == COMPLETIONS_PATH:
        # By this code clients know that a shorter conversation would be taken, and send one; some look for these words.
        detail = f"This model's maximum context length is exceeded: a request has at most {max_bytes} bytes."
        return ErrorResponse(400, "context_length_exceeded", detail)
    return ErrorResponse(413, "too_large", f"A request body may have at most {max_bytes} bytes.")


class BodyLimitMiddleware:
    """Refuses bodies over `MAX_BODY_BYTES` with 413, by their announced length or, without one, by counting; chat
    completions over `completion_bytes`, in the way that their clients know."""

    def __init__(self, app: Application, completion_bytes: int = COMPLETION_BYTES) -> None:
        self.app = app
        self.completion_bytes = completion_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        max_bytes = self.completion_bytes if scope["path"] == COMPLETIONS_PATH else MAX_BODY_BYTES
        if self._announced(scope) > max_bytes:
            await _refuse(scope, send, max_bytes)
        else:
            await self._counted(scope, receive, send, max_bytes)

    def _announced(self, scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length":
                return int(value) if value.isdigit() else 0
        return 0

    async def _counted(self, scope: Scope, receive: Receive, send: Send, max_bytes: int) -> None:
        size, started, refused = 0, False, False

        async def counted_receive() -> Message:
            nonlocal size, refused
            message = await receive()
            size += len(message.get("body", b""))
            if size > max_bytes:
                refused = True
                raise _TooLarge
            return message

        async def tracked_send(message: Message) -> None:
            nonlocal started
            if not refused:  # the response of the application to the broken body is replaced
                started = True
                await send(message)

        try:
            await self.app(scope, counted_receive, tracked_send)
        except _TooLarge:
            refused = True
        if refused and not started:
            await _refuse(scope, send, max_bytes)


async def _refuse(scope: Scope, send: Send, max_bytes: int) -> None:
    refusal = _refusal(scope["path"], max_bytes)
    client = scope.get("client")
    log.warning(
        "request.refused",
        rule="body_size",
        status=refusal.status,
        actor=None,  # not authenticated yet
        client=client[0] if client else None,
        method=scope["method"],
        path=scope["path"],
    )
    content = refusal.content(scope["path"], current_request_id() or new_id())
    headers = refusal.headers(scope["path"], content)
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
